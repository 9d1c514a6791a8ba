#!/usr/bin/env bash
# Real scans through the whole chain, scored against their fully sampled twins.
# SHARED: folder with data/ and tools/; SCORE: a Python with the requirements of tools/.
set -euo pipefail
cd "$(dirname "$0")/../.."
cli=target/debug/raki-cloud
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

psnr() { # IMAGE -> dB against the fully sampled brain
  "$SCORE" "$SHARED/tools/score.py" "$SHARED/data/brain8_full.h5" "$1" --json | "$SCORE" -c 'import json,sys; print(json.load(sys.stdin)["psnr"])'
}
at_least() { # NAME FOUND WANTED
  "$SCORE" -c 'import sys; n,f,w=sys.argv[1],float(sys.argv[2]),float(sys.argv[3]); print(f"{n}: {f:.2f} dB, at least {w:.2f} dB wanted"); sys.exit(f<w)' "$@"
}

# The archive as a user would drop it, through functions, queues and job.
$cli demo "$SHARED/data/brain8_r4.tar.gz" --out "$out/chain" --json > "$out/chain.json"
image=$(find "$out/chain" -name image.nii.gz)
at_least "brain8 R=4 auto, chain" "$(psnr "$image")" 35.8

# The same file without AWS gives the same bytes.
$cli reconstruct "$SHARED/data/brain8_r4.tar.gz" --out "$out/local"
cmp "$image" "$out/local/image.nii.gz"

# R=4 and R=3, 32 calibration lines: each method by itself. The reference is a root sum of squares, so these are as well.
while read -r r method wanted; do
  $cli reconstruct "$SHARED/data/brain8_r$r.h5" --out "$out/$method$r" --method "$method" --combine rss
  at_least "brain8 R=$r $method" "$(psnr "$out/$method$r/image.nii.gz")" "$wanted"
done <<END
4 grappa 29.8
4 raki-paper 32.0
4 nwg 35.1
4 raki 35.0
4 auto 35.8
3 grappa 32.0
3 nwg 37.1
3 auto 37.8
END

# A study of several slices and coils: chain and command line agree to the byte.
"$SCORE" "$SHARED/tools/make_study.py" "$out/study.h5" --slices 4 --coils 12 --matrix 192 --r 4
$cli demo "$out/study.h5" --out "$out/study-chain" --json > "$out/study.json"
$cli reconstruct "$out/study.h5" --out "$out/study-local"
cmp "$(find "$out/study-chain" -name image.nii.gz)" "$out/study-local/image.nii.gz"

# Scans of a Siemens scanner in one zip archive: each is reconstructed by itself, in the chain as on the command line.
"$SCORE" - "$SHARED/data" "$out/scans.zip" <<'END'
import sys, zipfile
with zipfile.ZipFile(sys.argv[2], "w", zipfile.ZIP_DEFLATED) as archive:
    for name in ("twixtools_gre.dat", "twixtools_epi.dat", "siemens_ve11_32ch.dat"):
        archive.write(f"{sys.argv[1]}/{name}", name)
END
$cli demo "$out/scans.zip" --out "$out/scans-chain" --json > "$out/scans.json"
$cli reconstruct "$out/scans.zip" --out "$out/scans-local" --json > "$out/scans-local.json"
for name in twixtools_gre twixtools_epi siemens_ve11_32ch; do
  cmp "$(find "$out/scans-chain" -path "*$name/image.nii.gz")" "$out/scans-local/$name/image.nii.gz"
done
