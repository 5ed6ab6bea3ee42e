# Shortcuts for CONTRIBUTING.md. Pass arguments to pytest with ARGS: make test ARGS="-k wilson".
PYTHON ?= python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help format check test slow browser cluster real coverage docs docs-serve samples

help:  ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

format:  ## Format the code and apply the linter's fixes
	ruff format .
	ruff check --fix .

check:  ## Everything that CI requires: format, lint, spelling, prose, types, tests
	./check $(ARGS)

test:  ## The default tests only
	$(PYTHON) -m pytest $(ARGS)

slow:  ## The slow tests (minutes)
	$(PYTHON) -m pytest -m slow $(ARGS)

browser:  ## The report pages in headless Chromium
	$(PYTHON) -m pytest -m browser $(ARGS)

cluster:  ## Ray nodes on loopback (extra: ray)
	$(PYTHON) -m pytest -m cluster $(ARGS)

real:  ## A pretrained model and real servers (extra: real)
	$(PYTHON) -m benchmarks.real.environments
	$(PYTHON) -m pytest -m real $(ARGS)

coverage:  ## Branch coverage of the default tests, subprocesses included
	$(PYTHON) -m coverage erase
	$(PYTHON) -m coverage run -m pytest $(ARGS)
	$(PYTHON) -m coverage combine --quiet
	$(PYTHON) -m coverage report

docs:  ## Regenerate the reference pages and schemas
	$(PYTHON) -m docs.generate

docs-serve:  ## The documentation site on http://127.0.0.1:8000 (extra: docs)
	$(PYTHON) -m mkdocs serve

samples:  ## Regenerate the embedded samples
	$(PYTHON) -m tools.samples.news
	$(PYTHON) -m tools.samples.questions
	$(PYTHON) -m tools.samples.personas
