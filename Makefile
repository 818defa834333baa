# `make` says what there is. GNU make 3.81 (macOS) is enough.
# PYTHON=python3.12 chooses the interpreter of a new environment.
PYTHON =
PROFILE = embedded
RUNNER = dvc

BIN = .venv/bin
READY = .venv/installed
# Stages call `universality`, which lives there; nothing is written outside the clone and caches.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL = help
.PHONY: help setup repro figures pull push bench lint test

help:
	@echo 'make repro                   run everything that changed, to figures and metrics'
	@echo 'make repro PROFILE=smoke     the same with profiles/smoke.yaml, in runs/smoke'
	@echo 'make repro RUNNER=snakemake  the same graph in parallel, with Snakemake'
	@echo 'make pull                    get the cached tables instead of computing them'
	@echo 'make figures                 redraw figures and metrics from the tables alone'
	@echo 'make test                    lint, type-check and test'
	@echo 'make lint                    only lint and type-check'
	@echo 'make bench                   speed beside other programs, in one run (after make repro)'
	@echo 'make setup                   only make .venv; the others do it when it is needed'
	@echo 'make push                    maintainers: put new tables into the committed remote/'

setup: $(READY)

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh $(PYTHON)

repro: $(READY)
	@$(BIN)/python workflow/run.py $(PROFILE) $(RUNNER)

# Checked-out files have arbitrary times: without the touch, Snakemake would run stages again.
# It touches only what is older than its inputs, and the toy models have none.
pull: $(READY)
	@$(BIN)/dvc pull --allow-missing
	@$(BIN)/snakemake --touch --cores 1 --quiet all --forcerun toy_saes

figures: $(READY)
	@$(BIN)/python workflow/figures.py

push: $(READY)
	@$(BIN)/python workflow/quick_dvc.py push `$(BIN)/python workflow/dag.py tables`

bench: $(READY)
	@$(BIN)/python benchmarks/sampling.py data/models/stories15m
	@$(BIN)/python benchmarks/sae_steps.py --activations data/activations/stories15m
	@$(BIN)/python benchmarks/sae_training.py --model data/models/stories15m --corpus data/corpora/stories
	@$(BIN)/python benchmarks/matching.py --large
	@$(BIN)/python benchmarks/similarity.py
	@$(BIN)/python benchmarks/pursuit.py
	@$(BIN)/python benchmarks/hierarchy.py

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright
	@$(BIN)/snakemake --lint
	@$(BIN)/python workflow/dag.py check

test: lint
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile
