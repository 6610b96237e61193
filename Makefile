# Two commands set everything up by themselves: `make up` rehearses the local stack, `make test` runs the tests.
STACK ?= local
PYTHON_BIN := .venv/bin/python
COMPILE := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header

# A rehearsal starts dozens of Python processes, and each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup up preview down doctor test rehearsals lint format schema docs lock bench

help: ## Say what there is
	@sed -n 's/^\([a-z]*\):.*## /  make \1  \t/p' Makefile

setup:
	@sandbox/setup.sh

up: setup ## Set up everything and rehearse a stack (STACK=local)
	@$(PYTHON_BIN) -m sandbox up $(STACK)

preview: setup ## Show what `make up` would change
	@$(PYTHON_BIN) -m sandbox preview $(STACK)

down: setup ## Delete the rehearsed stack, its control plane and its data
	@$(PYTHON_BIN) -m sandbox down $(STACK)

doctor: setup ## Say which tools are there
	@$(PYTHON_BIN) -m sandbox doctor

test: setup ## Set up everything and run the tests, without the long rehearsals
	@$(PYTHON_BIN) -m sandbox tools
	@$(PYTHON_BIN) -m pytest -n auto --dist loadfile -m "not long"

rehearsals: setup ## Run the long rehearsals: whole stories of stacks
	@$(PYTHON_BIN) -m sandbox tools
	@$(PYTHON_BIN) -m pytest -n auto --dist loadfile -m long

lint: setup ## Check style and types
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

format: setup ## Put the code into its style
	@.venv/bin/ruff check --fix .
	@.venv/bin/ruff format .

lock: setup ## Write requirements*.txt, with hashes, from requirements*.in
	@$(COMPILE) requirements-dev.in -o requirements-dev.txt
	@$(COMPILE) requirements.in -c requirements-dev.txt -o requirements.txt

schema: setup ## Write the schemas of stack files and of the plugin
	@$(PYTHON_BIN) -m settings > stacks/schema.json
	@$(PYTHON_BIN) -m plugin.provider > plugin/schema.json

docs: setup ## Write the pages that follow from the code
	@$(PYTHON_BIN) -m tests.pages

bench: setup ## Measure, and print the tables of bench/README.md
	@$(PYTHON_BIN) -m bench
