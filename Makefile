# demo, test, check, bench, image, deploy: CI calls the same.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

CARGO ?= cargo
PYTHON ?= python3
VENV ?= $(CURDIR)/.venv
TOOLS := $(VENV)/tools
PEERS := $(VENV)/bench
BIN := $(CURDIR)/target/debug
IMAGE ?= raki-cloud
CUDA := $(abspath $(or $(CARGO_TARGET_DIR),target))/cuda
CHROMIUM ?= /usr/bin/chromium

# Machines of CI and laptops share cores with other work: two threads unless told otherwise.
export RAYON_NUM_THREADS ?= 2
export RAKI_CLOUD_PYTHON ?= $(TOOLS)/bin/python

.PHONY: help demo test check bench bench-gpu bench-quality pictures image deploy build viewer test-pages test-cuda clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: viewer ## compile every program, in the profile that the tests use too
	$(CARGO) build --workspace --bins --examples

viewer: ## the 3-D view of reports, from npm; reports do without it where npm is missing
	@if command -v npm >/dev/null; then $(MAKE) -s pages/viewer/node_modules/.package-lock.json; \
	else echo "npm is missing: reports are built without their 3-D view"; fi

pages/viewer/node_modules/.package-lock.json: pages/viewer/package-lock.json
	cd pages/viewer && npm ci --ignore-scripts --omit=optional --no-audit --no-fund --loglevel=error
	touch $@

demo: build ## run a scan through the whole stack on this machine; INPUT=FILE for your own, METHOD=nwg|raki|... for one method
	$(BIN)/raki-cloud demo $(if $(INPUT),"$(INPUT)") $(if $(METHOD),--method $(METHOD))
	@CHROMIUM="$(CHROMIUM)" tests/pages/screenshots.sh demo-output demo-output/screenshots

test: build $(TOOLS)/.done ## unit, property, golden and chain tests
	$(CARGO) test --workspace
	$(TOOLS)/bin/python -m pytest -q -p no:cacheprovider tests/template
	$(TOOLS)/bin/python tests/template/sam_deploy.py
	$(MAKE) --no-print-directory test-pages

test-pages: build ## report and worklist in Chromium; PAGES=FOLDER for pages of your own, SHOTS=FOLDER keeps the pictures of it
	@if ! command -v node >/dev/null || ! command -v npm >/dev/null || ! [ -x "$(CHROMIUM)" ]; then \
	  echo "skipped: pages in a browser, which need node, npm and Chromium"; exit 0; fi; \
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	(cd tests/pages && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); \
	pages="$(PAGES)"; [ -n "$$pages" ] || { pages="$$scratch/sample"; $(BIN)/examples/sample "$$pages"; }; \
	CHROMIUM="$(CHROMIUM)" node tests/pages/pages.mjs "$$pages" "$(or $(SHOTS),$$scratch/shots)"

# The build rewrites Cargo.lock for its patched crates. The second run begins with the last blocks and threads.
test-cuda: $(CUDA)/emulator/selftest $(CUDA)/patch ## CUDA code without a GPU: nvcc from PyPI, the build with CUDA, its tests on an emulated device; TF32=0 for products in full precision
	@eval "$$(gpu-job/cuda/compiler.sh)"; export LD_LIBRARY_PATH="$(CUDA)/emulator" CUDA_EMULATOR_TF32=$(or $(TF32),1); \
	"$(CUDA)/emulator/selftest"; \
	scratch=$$(mktemp -d); cp -p Cargo.lock "$$scratch"; trap 'cp -p "$$scratch/Cargo.lock" .; rm -rf "$$scratch"' EXIT; \
	for reverse in 0 1; do \
	  CUDA_EMULATOR_REVERSE=$$reverse $(CARGO) test --workspace --test gpu_job --features gpu-job/cuda \
	    $$(cat "$(CUDA)/patch") -- cuda --nocapture 2>&1 | tee "$$scratch/log"; \
	  if grep -q 'skipped: ' "$$scratch/log"; then echo "the emulated device was not found"; exit 1; fi; \
	done

$(CUDA)/emulator/selftest: $(wildcard gpu-job/cuda/emulator/*) $(shell find gpu-job/src -name '*.cu')
	eval "$$(gpu-job/cuda/compiler.sh)"; gpu-job/cuda/emulator/build.sh "$(@D)"

# Kept, since cargo compiles candle anew when its copy is.
$(CUDA)/patch: gpu-job/cuda/patch-candle.sh gpu-job/cuda/patch_candle.py
	mkdir -p "$(@D)"; gpu-job/cuda/patch-candle.sh >$@

check: $(TOOLS)/.done ## format, lints, template
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(TOOLS)/bin/cfn-lint template.yaml
	cd $(CURDIR) && SAM_CLI_TELEMETRY=0 $(TOOLS)/bin/sam validate --lint --region us-east-1 --template template.yaml

bench: build $(TOOLS)/.done ## speed, as ratios against peers in one run; TORCH=PYTHON for a Python with PyTorch
	$(TOOLS)/bin/python tests/bench/bench.py --bin $(BIN) $(if $(TORCH),--torch "$(TORCH)")

# The build with CUDA is one of its own (gpu-job/cuda/README.md). What is not on the GPU uses all cores.
bench-gpu: export RAYON_NUM_THREADS := $(shell nproc)
bench-gpu: ## a study on a GPU beside PyTorch; TORCH=PYTHON with PyTorch, BIN=FOLDER of programs with CUDA, STUDY=FILE to keep it, DEVICE=cpu to try
	$(or $(TORCH),$(PYTHON)) tests/bench/gpu.py --bin "$(BIN)" $(if $(DEVICE),--device $(DEVICE)) $(if $(STUDY),--keep "$(STUDY)")

bench-quality: build $(PEERS)/.done ## image quality beside peers; DATA=FILE for a fully sampled file of your own, JSON=FILE for the figures
	$(PEERS)/bin/python tests/bench/quality.py --bin $(BIN) $(if $(DATA),--data "$(DATA)") $(if $(JSON),--json "$(JSON)")

pictures: build ## the pictures of README, from the built-in phantom
	scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	$(BIN)/raki-cloud phantom --out "$$scratch/scan.h5" --slices 1 --coils 8 --matrix 192 --r 4 --acs 32 --snr 30; \
	for method in zero-filled grappa auto; do \
	  $(BIN)/raki-cloud reconstruct "$$scratch/scan.h5" --method $$method --out "$$scratch/$$method"; \
	  cp "$$scratch/$$method/preview.png" docs/images/$$method.png; \
	done; \
	CHROMIUM="$(CHROMIUM)" tests/pages/screenshots.sh "$$scratch/auto" "$$scratch/pages"; \
	cp "$$scratch/pages/report-1280.png" docs/images/report.png

image: viewer ## the CUDA image of gpu-job and the CPU image of prepare-job
	docker build -f gpu-job/Dockerfile --target gpu-job -t $(IMAGE):gpu .
	docker build -f gpu-job/Dockerfile --target prepare -t $(IMAGE):prepare .

deploy: viewer ## sam build, then sam deploy with the settings of samconfig.toml
	sam build
	sam deploy

$(TOOLS)/.done: tests/requirements.txt
	$(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	touch $@

$(PEERS)/.done: tests/bench/requirements.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/pip install --quiet --disable-pip-version-check -r tests/bench/requirements.txt
	touch $@

clean: ## remove what the commands above made, except compiled code
	rm -rf $(VENV) demo-output .aws-sam pages/viewer/node_modules tests/pages/node_modules
