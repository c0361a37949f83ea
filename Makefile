# Two commands: `make demo` and `make test`. Each makes what it needs, from Python 3.11 alone.
PYTHON ?= python3.11
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
VENV := .venv
BIN := $(abspath $(VENV))/bin
export PATH := $(BIN):$(PATH)
# Results must not depend on who runs them: one thread a job, no hash order, plain locale.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0
# As the jobs have it: the warm server takes only jobs of an equal environment.
export PYTHONPATH := $(CURDIR)
export LC_ALL := C.UTF-8
# Every job imports this project's modules: compiled once, not by each of them.
unexport PYTHONDONTWRITEBYTECODE
# Jobs of the small scales are forked from one process that has imported torch already.
WARM := $(BIN)/python -m scripts.first.runtime.warm run --
SNAKEMAKE := snakemake --profile profiles/local --cores $(CORES)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# No file whose hash is not in the lock, and nothing that the lock does not name.
LOCKED := $(PIP) --require-hashes --no-deps

.PHONY: install demo smoke verify test slow faults bench pretrain-tiny lint format lock clean

install: $(VENV)/run.stamp ## the environment alone, for a run by hand or on a cluster

demo: $(VENV)/run.stamp ## the whole paper at tiny scale, then Table 1
	@$(WARM) $(SNAKEMAKE) --config scale=tiny -- all
	@$(BIN)/python -m scripts.artifacts show --table1 results/tiny/tables/table1.csv

smoke: $(VENV)/run.stamp ## the four real datasets, small models from scratch
	@$(WARM) $(SNAKEMAKE) --config scale=smoke -- all
	@$(BIN)/python -m scripts.artifacts show --table1 results/smoke/tables/table1.csv

SCALE ?= tiny
verify: $(VENV)/run.stamp ## finished results, from the tables down to the data; SCALE=smoke for others
	@$(BIN)/python -m scripts.verify results/$(SCALE)

test: $(VENV)/test.stamp ## linters and tests, long ones in their short forms
	@$(BIN)/python -m pytest tests -m "not slow" -n 2 --dist loadfile --no-loadscope-reorder $(PYTEST)

slow: $(VENV)/test.stamp ## the long tests, among them whole runs on a real Slurm
	@$(BIN)/python -m pytest tests -m slow $(PYTEST)

FAULTS := logs/faults.jsonl
faults: $(VENV)/test.stamp ## the tests of faults whole, and a table of what was tried
	@mkdir -p $(dir $(FAULTS)) && rm -f $(FAULTS)
	@FIRST_FAULTS=whole FIRST_FAULTS_REPORT=$(abspath $(FAULTS)) \
	  $(BIN)/python -m pytest tests/system/faults -n 2 --dist loadfile $(PYTEST); \
	  status=$$?; $(BIN)/python -m tests.system.faults.report $(FAULTS) && exit $$status

bench: $(VENV)/test.stamp ## ours against rivals and limits; BENCH='--only student' for some
	@$(BIN)/python -m benchmarks $(BENCH)

lint: $(VENV)/test.stamp
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile rules
	snakemake --lint

format: $(VENV)/test.stamp
	ruff check --fix .
	ruff format .
	snakefmt Snakefile rules

MODELS := $(foreach f,alder birch cedar,$(f)-student $(f)-teacher)
pretrain-tiny: $(VENV)/run.stamp ## remake the tiny scale's base checkpoints from nothing
	@$(WARM) $(SNAKEMAKE) -- $(MODELS:%=results/tiny/models/pretrained/%/record.json)
	@for model in $(MODELS); do $(BIN)/python -m scripts.models copy \
	  --source results/tiny/models/pretrained/$$model --output-dir resources/tiny/$$model || exit 1; done

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	  || { echo "error: Python 3.11 not found as $(PYTHON): name yours, as in make PYTHON=/path/to/python3.11"; exit 2; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: envs/lock.txt envs/lock-torch.txt | $(VENV)/bin/python
	@echo "installing into $(VENV) (once)"
	@$(LOCKED) -r envs/lock.txt
	@$(PIP) -r envs/lock-torch.txt
	@# Not beside the test tools: one of them is there without what it says it needs.
	@[ -e $(VENV)/test.stamp ] || found=$$($(BIN)/python -m pip check) \
	  || { echo "error: envs/lock.txt:" $$found; exit 2; }
	@touch $@

$(VENV)/test.stamp: envs/lock-test.txt | $(VENV)/run.stamp
	@echo "installing test tools into $(VENV) (once)"
	@$(LOCKED) -r envs/lock-test.txt
	@touch $@

lock: $(VENV)/test.stamp ## resolve envs/*.in into the lock; UPGRADE=--upgrade for newer versions
	@$(BIN)/python envs/lock.py $(UPGRADE)

clean: ## remove results and logs, keep the environment
	rm -rf results/tiny results/smoke logs benchmarks/tiny benchmarks/smoke .snakemake
