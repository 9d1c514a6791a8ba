#!/usr/bin/env bash
# Pictures of the newest report and worklist below FOLDER, wide and narrow: screenshots.sh FOLDER OUT. Without Chromium it says so.
set -euo pipefail
folder=$1 out=$2 chromium=${CHROMIUM:-/usr/bin/chromium}
if ! [ -x "$chromium" ]; then
  echo "no pictures of the pages: Chromium is not installed (CHROMIUM names it)"
  exit 0
fi
mkdir -p "$out"
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
for page in report worklist; do
  path=$(find "$folder" -name "$page.html" -exec ls -t {} + | sed -n 1p)
  [ -n "$path" ] || continue
  for width in 1280 390; do
    # The scripts of a report decode its pictures before they show them.
    "$chromium" --virtual-time-budget=5000 --headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking \
      --disable-component-update --disable-sync --user-data-dir="$profile" --window-size="$width,1500" \
      --screenshot="$out/$page-$width.png" "file://$(realpath "$path")" 2>/dev/null
  done
done
echo "pictures of the pages: $out"
