# Two commands: `make demo` and `make test`. Each installs what it needs into .venv once.
# The newest Python of 3.11 to 3.13 that runs and can make environments; PYTHON=... for another.
CAN := import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3.13 python3.12 python3.11 python3; do \
  $$python -c '$(CAN)' 2>/dev/null && echo $$python && break; done)
CORES ?= all
VENV := .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
export OMP_NUM_THREADS := 1
# Every job imports this project's modules: compile them once, not in each job.
unexport PYTHONDONTWRITEBYTECODE
# Snakemake with profiles/default; after a kill the same command continues. GPU jobs run one by one:
# not in the profile, which `--profile slurm` reads too, where it would cut what a job requests.
RUN := $(BIN)/python -m first_distill.runtime.run --cores $(CORES) --resources gpu=1
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# Only packages that the lock names, and only files whose hashes it lists.
LOCKED := $(PIP) --require-hashes --no-deps

.PHONY: help install gguf demo smoke pocket ablations verify publish test slow faults bench coverage gpu-check pretrain-tiny lint format lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 15

install: $(VENV)/run.stamp ## only install the environment, to run by hand or on a cluster

gguf: $(VENV)/gguf.stamp ## also install what `python -m scripts.models gguf` reads GGUF files with

demo: $(VENV)/run.stamp ## the whole paper at tiny scale, then Table 1
	@$(RUN) --config scale=tiny -- all
	@$(BIN)/python -m scripts.artifacts show --table1 results/tiny/tables/table1.csv

smoke: $(VENV)/run.stamp ## the four real datasets, small models from scratch
	@$(RUN) --config scale=smoke -- all
	@$(BIN)/python -m scripts.artifacts show --table1 results/smoke/tables/table1.csv

pocket: $(VENV)/run.stamp ## movie reviews, SmolLM2: real language on a CPU
	@$(RUN) --config scale=pocket -- all
	@$(BIN)/python -m scripts.artifacts show --table1 results/pocket/tables/table1.csv

SCALE ?= tiny
ablations: $(VENV)/run.stamp ## what changes if one choice does; SCALE=small for another scale
	@$(RUN) --config scale=$(SCALE) -- ablations
	@# It shows the ablations that are there, and builds none.
	@$(RUN) --config scale=$(SCALE) -- results/$(SCALE)/index.html
	@echo results/$(SCALE)/ablations.md
	@echo results/$(SCALE)/index.html

verify: $(VENV)/run.stamp ## check finished results down to the data; SCALE=smoke for another scale
	@$(BIN)/python -m scripts.verify results/$(SCALE)

TEST := $(BIN)/python -m pytest -m "not slow" -n 3 --dist loadfile --no-loadscope-reorder
test: $(VENV)/test.stamp ## the science first, then engineering and short whole runs
	@$(TEST) tests/science $(PYTEST)
	@$(TEST) tests/engineering tests/system $(PYTEST)

slow: $(VENV)/test.stamp ## the long tests, among them whole runs on a real Slurm
	@$(BIN)/python -m pytest tests -m slow --ignore tests/system/slurm -n 2 --dist loadfile $(PYTEST)
	@$(BIN)/python -m pytest tests/system/slurm -m slow $(PYTEST)

# Computed tables and figures as evidence in the repository, beside docs/results.md; not Table 2, which
# quotes rows of the datasets.
SHOWN := claims.md $(foreach t,table1 posthoc data_report,tables/$(t).md) $(foreach n,2 3 5 6,figures/figure$(n).png)
publish: $(VENV)/run.stamp ## copy a finished scale's tables and figures to docs/results/SCALE
	@mkdir -p docs/results/$(SCALE)
	@$(BIN)/python -m scripts.artifacts costs --benchmarks benchmarks/$(SCALE) --logs logs/$(SCALE) \
	  --output docs/results/$(SCALE)/costs.md
	@cp $(SHOWN:%=results/$(SCALE)/%) docs/results/$(SCALE)/
	@if [ -e results/$(SCALE)/ablations.md ]; then mkdir -p docs/results/$(SCALE)/ablations; \
	  cp results/$(SCALE)/ablations.md docs/results/$(SCALE)/; \
	  cp results/$(SCALE)/ablations/*.png docs/results/$(SCALE)/ablations/; fi

FAULTS := logs/faults.jsonl
faults: $(VENV)/test.stamp ## every test of faults in its long form, and a table of what was tried
	@mkdir -p $(dir $(FAULTS)) && rm -f $(FAULTS)
	@FIRST_FAULTS=whole FIRST_FAULTS_REPORT=$(abspath $(FAULTS)) \
	  $(BIN)/python -m pytest tests/system/faults -n 2 --dist loadfile $(PYTEST); \
	  status=$$?; $(BIN)/python -m tests.system.faults.report $(FAULTS) && exit $$status

bench: $(VENV)/test.stamp ## each stage against alternatives; BENCH='--only student' for a part
	@$(BIN)/python -m benchmarks $(BENCH)

coverage: $(VENV)/run.stamp ## simulate whether the intervals cover, and write docs/coverage.md
	@$(BIN)/python -m benchmarks.coverage --rows benchmarks/results/coverage.csv --output docs/coverage.md

gpu-check: $(VENV)/run.stamp ## is the GPU path right, how fast is it; REDUCED=1 on a CPU
	@$(BIN)/python -m benchmarks.gpu $(if $(REDUCED),--reduced) $(GPU_CHECK)

lint: $(VENV)/test.stamp ## ruff, snakefmt and snakemake --lint
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: $(VENV)/test.stamp ## format code and rules
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

MODELS := $(foreach f,alder birch cedar,$(f)-student $(f)-teacher)
pretrain-tiny: $(VENV)/run.stamp ## remake the tiny scale's base checkpoints
	@$(RUN) -- $(MODELS:%=results/tiny/models/pretrained/%/record.json)
	@for model in $(MODELS); do $(BIN)/python -m scripts.models copy \
	  --source results/tiny/models/pretrained/$$model --output-dir resources/tiny/$$model || exit 1; done

$(VENV)/bin/python:
	@[ -n "$(PYTHON)" ] || { echo "error: no Python 3.11 to 3.13 with venv: install one (Debian," \
	  "Ubuntu: apt install python3-venv), or make PYTHON=/path/to/python3"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: envs/lock.txt envs/lock-torch.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (once)"
	@$(LOCKED) -r envs/lock.txt
	@$(PIP) -r envs/lock-torch.txt
	@# This project itself, so that Snakemake finds its logger.
	@$(PIP) --no-deps --no-build-isolation --editable .
	@# Not once the test tools are installed: one of them omits its declared dependencies.
	@[ -e $(VENV)/test.stamp ] || found=$$($(BIN)/python -m pip check) \
	  || { echo "error: envs/lock.txt:" $$found; exit 2; }
	@touch $@

$(VENV)/gguf.stamp: envs/lock-gguf.txt | $(VENV)/run.stamp
	@$(LOCKED) -r envs/lock-gguf.txt
	@touch $@

$(VENV)/test.stamp: envs/lock-test.txt | $(VENV)/run.stamp
	@echo "installing test tools into $(VENV) (once)"
	@$(LOCKED) -r envs/lock-test.txt
	@touch $@

lock: $(VENV)/test.stamp ## resolve envs/*.in into the lock; UPGRADE=--upgrade for newer versions
	@$(BIN)/python envs/lock.py $(UPGRADE)

clean: ## remove results and logs, keep the environment
	rm -rf $(foreach s,tiny smoke,$(foreach d,results benchmarks logs,$(d)/$(s) $(d)/$(s)-*)) .snakemake
