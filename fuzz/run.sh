#!/usr/bin/env bash
# Runs fuzzers, each for a time: run.sh [SECONDS] [TARGET...]. Needs cargo-fuzz and a nightly toolchain. What they find is kept in
# artifacts/; a finding becomes a file of ../attacks with its sentence, or of kspace/tests/regressions.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
shift || true
targets=("$@")
[ ${#targets[@]} -gt 0 ] || mapfile -t targets < <(cargo +nightly fuzz list)
for target in "${targets[@]}"; do
  mkdir -p "fuzz/corpus/$target"
  # The readers have no unsafe code but the map of the file, so that no sanitizer is needed; memory and time are bounded here.
  RAYON_NUM_THREADS=1 cargo +nightly fuzz run --sanitizer none "$target" "fuzz/corpus/$target" "fuzz/seeds/$target" -- \
    -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -malloc_limit_mb=1024 -timeout=20 -print_final_stats=1
done
