# `make` says what there is. GNU make 3.81 (macOS) is enough.
# PYTHON=python3.12 chooses the interpreter of a new environment.
PYTHON =
PROFILE = embedded
RUNNER = snakemake
STUDY =
SET =
FROM =
FORMAT =
VERSION =

BIN = .venv/bin
READY = .venv/installed
# Stages call `universality`, which lives there; nothing is written outside the clone and caches.
export PATH := $(CURDIR)/.venv/bin:$(PATH)

# Else every process would compile the libraries anew, eight seconds for what a stage imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL = help
.PHONY: help setup repro diff figures pull push experiment verify release report bench audit api lint test

help:
	@echo 'make repro                   run everything that changed, to figures and metrics'
	@echo 'make repro PROFILE=smoke     the same with profiles/smoke.yaml, in runs/smoke'
	@echo 'make repro RUNNER=dvc        the same graph by DVC, one stage after the other'
	@echo 'make repro RUNNER=slurm      the same on a cluster, from a login node'
	@echo 'make repro FROM=text         the same, with the pinned text made again'
	@echo 'make diff                    what make repro has made, beside what is committed'
	@echo 'make pull                    get the cached tables instead of computing them'
	@echo 'make pull STUDY=matching     only those of one study (a folder of figures/)'
	@echo 'make experiment SET=KEY=VALUE   change a parameter, run what depends on it, compare'
	@echo 'make figures                 redraw figures and metrics from the tables alone'
	@echo 'make figures FORMAT=pdf      the figures as PDF (or png), in figures-pdf/'
	@echo 'make report                  everything to look at as one offline site, in report/'
	@echo 'make test                    lint, type-check and test'
	@echo 'make api                     write the API reference, into api/'
	@echo 'make lint                    only lint and type-check'
	@echo 'make verify                  read all data again and drop what a disk has damaged'
	@echo 'make bench                   speed beside other programs, in one run (after make repro)'
	@echo 'make setup                   only make .venv; the others do it when it is needed'
	@echo 'make push                    maintainers: put new tables into the committed remote/'
	@echo 'make release VERSION=1.0.0   maintainers: pack the results, and check them in a clone'
	@echo 'make audit                   known vulnerabilities of what requirements.lock names'

setup: $(READY)

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@sh scripts/setup.sh $(PYTHON)

repro: $(READY)
	@$(BIN)/python pipeline/run.py $(PROFILE) $(RUNNER) $(if $(FROM),'--from=$(FROM)')

diff: $(READY)
	@$(BIN)/python pipeline/reproduction.py

pull: $(READY)
	@$(BIN)/python pipeline/pull.py '$(STUDY)'

experiment: $(READY)
	@$(BIN)/python pipeline/quick_dvc.py exp run --set-param '$(SET)'
	@$(BIN)/dvc metrics diff

verify: $(READY)
	@$(BIN)/python pipeline/dag.py verify

figures: $(READY)
	@$(BIN)/python pipeline/figures.py '$(FORMAT)' '$(STUDY)'

report: $(READY)
	@$(BIN)/python pipeline/report.py

push: $(READY)
	@$(BIN)/python pipeline/quick_dvc.py push `$(BIN)/python pipeline/dag.py tables`

release: $(READY)
	@$(BIN)/python pipeline/release.py $(VERSION)

bench: $(READY)
	@$(BIN)/python benchmarks/sampling.py data/models/stories15m
	@$(BIN)/python benchmarks/sae_steps.py --activations data/activations/stories15m
	@$(BIN)/python benchmarks/sae_training.py --model data/models/stories15m --corpus data/corpora/stories
	@$(BIN)/python benchmarks/matching.py --large
	@$(BIN)/python benchmarks/similarity.py
	@$(BIN)/python benchmarks/pursuit.py
	@$(BIN)/python benchmarks/hierarchy.py
	@$(BIN)/python benchmarks/feature_map_page.py

api: $(READY)
	@$(BIN)/python pipeline/api.py api

# Asks the vulnerability service of PyPI, so it needs the network.
audit: $(READY)
	@$(BIN)/pip-audit --strict --require-hashes --disable-pip --requirement requirements.lock

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache
	@$(BIN)/pyright & others=0; $(BIN)/snakemake --lint && $(BIN)/python pipeline/dag.py check || others=1; \
	  wait $$! && exit $$others

test: lint
	@$(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder
