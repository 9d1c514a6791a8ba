"""Speed as ratios against peers, measured in alternation in one run.

    bench.py --bin target/debug [--slices 20] [--rounds 3] [--torch PYTHON]

Absolute times of a shared machine mean little; a ratio of neighbouring runs means more. Every line printed names both
sides, the median of each and the ratio of the medians.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--bin", type=pathlib.Path, required=True)
p.add_argument("--slices", type=int, default=20, help="20 slices of 32 coils, 320x320, fully sampled, are a file of 1 GB")
p.add_argument("--rounds", type=int, default=3)
p.add_argument("--torch", type=pathlib.Path, help="a Python that has PyTorch, to compare a training step with")
a = p.parse_args()

H5PY = """
import sys, time, json, resource, h5py
start = time.perf_counter()
with h5py.File(sys.argv[1], "r") as f:
    rows = f["dataset/data"][:]
megabytes = sum(x.nbytes for x in rows["data"]) / 1e6
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": megabytes,
                  "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
"""

TWIXTOOLS = """
import contextlib, json, resource, sys, time, twixtools
start = time.perf_counter()
with contextlib.redirect_stdout(sys.stderr):
    scan = twixtools.read_twix(sys.argv[1], verbose=False, parse_pmu=False, parse_geometry=False)[-1]
megabytes = sum(mdb.data.nbytes for mdb in scan["mdb"]) / 1e6
print(json.dumps({"seconds": time.perf_counter() - start, "megabytes": megabytes,
                  "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3}))
"""


def run(*command):
    """The JSON that a program prints."""
    done = subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def compare(what, ours, peer):
    """Alternates two callables that return JSON with `seconds`; prints medians and the ratio of speeds."""
    left, right = [], []
    for _ in range(a.rounds):
        left.append(ours())
        right.append(peer())
    median = lambda rows: statistics.median(row["seconds"] for row in rows)
    print(f"{what}: {median(left):.2f} s against {median(right):.2f} s, {median(right) / median(left):.2f} times as fast")
    return left, right


def unpacked(archive):
    """Seconds of the program zstd, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(["zstd", "-dc", "-q", archive], stdout=subprocess.DEVNULL, check=True)
    return {"seconds": time.perf_counter() - start}


examples = a.bin / "examples"
with tempfile.TemporaryDirectory() as folder:
    scan = pathlib.Path(folder) / "scan.h5"
    start = time.perf_counter()
    run(a.bin / "raki-cloud", "phantom", "--out", scan, "--slices", a.slices, "--coils", 32, "--matrix", 320, "--r", 1,
        "--acs", 0, "--json")
    print(f"made a phantom of {scan.stat().st_size / 1e9:.2f} GB in {time.perf_counter() - start:.0f} s")
    h5py = lambda: run(sys.executable, "-c", H5PY, scan)
    compare("read all samples, against h5py's bulk read", lambda: run(examples / "read_raw", scan), h5py)
    ours, _ = compare("prepare (read, prewhiten, crop, sort), against h5py's bulk read",
                      lambda: run(examples / "prepare_rate", scan), h5py)
    print(f"prepare: peak memory {max(row['peak_megabytes'] for row in ours):.0f} MB with the mapped file")
    if shutil.which("zstd"):
        archive = scan.with_suffix(".tar.zst")
        with archive.open("wb") as out, subprocess.Popen(["tar", "c", "-C", folder, scan.name], stdout=subprocess.PIPE) as tar:
            subprocess.run(["zstd", "-q", "-3"], stdin=tar.stdout, stdout=out, check=True)
        prepared = scan.with_suffix(".safetensors")
        compare("unpack and prepare a .tar.zst, against zstd -dc alone",
                lambda: run(a.bin / "raki-cloud", "prepare", archive, "--out", prepared, "--json"), lambda: unpacked(archive))
    else:
        print("skipped: zstd is not installed")

with tempfile.TemporaryDirectory() as folder:
    scan = pathlib.Path(folder) / "scan.dat"
    subprocess.run([sys.executable, pathlib.Path(__file__).with_name("write_twix.py"), scan, "--slices", str(a.slices)], check=True)
    print(f"made Siemens raw data of {scan.stat().st_size / 1e9:.2f} GB")
    compare("read all samples, against twixtools", lambda: run(examples / "read_raw", scan),
            lambda: run(sys.executable, "-c", TWIXTOOLS, scan))

with tempfile.TemporaryDirectory() as folder:
    scan, out = pathlib.Path(folder) / "scan.h5", pathlib.Path(folder) / "out"
    run(a.bin / "raki-cloud", "phantom", "--out", scan, "--slices", 92, "--coils", 8, "--matrix", 320, "--r", 4, "--acs", 32, "--json")
    prepared = scan.with_suffix(".safetensors")
    run(a.bin / "raki-cloud", "prepare", scan, "--out", prepared, "--json")
    before, start = os.times(), time.perf_counter()
    subprocess.run([a.bin / "gpu-job", "reconstruct", prepared, "--method", "nwg", "--out", out], check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    fill = next(row for row in json.loads((out / "manifest.json").read_text())["timings"] if row["stage"] == "fill")
    # All that is not filling: transform, combination, maps, numbers, files, pictures, the page, and starting.
    cpu = after.children_user + after.children_system - before.children_user - before.children_system - fill["cpu_seconds"]
    print(f"ending a study of 92 slices, 320 x 320, 8 coils, with transform and combination: {cpu:.1f} s of CPU, "
          f"{wall - fill['seconds']:.1f} s; report of {(out / 'report.html').stat().st_size / 1e6:.1f} MB")

steps, torch = [], []
for _ in range(a.rounds):
    steps.append(run(examples / "bench_raki"))
    if a.torch:
        torch.append(run(a.torch, pathlib.Path(__file__).with_name("torch_step.py")))
step = min(steps, key=lambda step: step["seconds_per_step"])
print(f"RAKI training step, matrix products with fused loops against candle tensors: {step['ratio']:.2f} times as fast, "
      f"{step['gemm_share']:.0%} of the machine's rate of products")
if torch:
    peer = min(row["seconds_per_step"] for row in torch)
    print(f"RAKI training step against PyTorch: {peer / step['seconds_per_step']:.2f} times as fast")
cost = step["slice"]
print(f"a slice of 8 coils, training as published against `raki`: {cost['published_seconds'] / cost['weighted_seconds']:.1f} times the CPU time; "
      f"the latter at {cost['weighted_gemm_share']:.0%} of products")
print(json.dumps(step))

with tempfile.TemporaryDirectory() as folder:
    scan = pathlib.Path(folder) / "scan.h5"
    for coils in (8, 32):
        run(a.bin / "raki-cloud", "phantom", "--out", scan, "--slices", 1, "--coils", coils, "--matrix", 256, "--r", 4, "--acs", 32, "--json")
        stages = run(examples / "bench_stages", scan)
        machine = stages["machine"]
        print(f"stages of a slice of {coils} coils, 256 x 256, R = 4, 32 lines, one thread; the machine's complex products "
              f"{machine['complex_double_gemm_gflop_per_s']:.0f} GFLOP/s, copies {machine['copy_gb_per_s']:.0f} GB/s")
        for row in stages["stages"]:
            print(f"  {row['stage']:22} {row['seconds']:7.3f} s {row['gflop']:8.2f} GFLOP {row['gigabytes']:7.3f} GB"
                  f"  {row['gemm_share']:5.0%} of products ({row['single_gemm_share']:.0%} of single-precision ones)"
                  f" {row['memory_share']:5.0%} of copies")
