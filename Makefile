# make demo: the whole road on embedded data; make test: the tests. Both make .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1
# No usage statistics leave this machine unless they are asked for.
export BENTOML_DO_NOT_TRACK ?= True

.PHONY: demo serve test test-slow test-gpu lint types check clean sms-risk cifar10 tables examples

.venv/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --progress-bar off --constraint constraints.txt --editable '.[optimize,demo,dev]'
	touch $@

demo: .venv/.installed
	$(BIN)/python demo.py

serve: .venv/.installed
	$(BIN)/bentoml serve

test: .venv/.installed
	$(BIN)/python -m pytest

test-slow: .venv/.installed
	$(BIN)/python -m pytest -m slow

test-gpu: .venv/.installed
	$(BIN)/python -m pytest -m gpu

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed
	$(BIN)/mypy

check: lint types test

# The measured recipes; DATA is the folder that holds text/, image/ and weights/.
DATA ?= ../shared/data
sms-risk: .venv/.installed
	$(BIN)/python -m optimize run sms-risk --root $(DATA)/text

cifar10: .venv/.installed
	$(BIN)/python -m optimize run cifar10 --root $(DATA)

# Copy the measured summaries into docs/measured and write README's tables from them.
tables: .venv/.installed
	$(BIN)/python docs/readme.py tables sms-risk cifar10

# Serve the demo, send README's curl lines, and write the answers below them.
examples: .venv/.installed
	$(BIN)/python docs/readme.py examples

clean:
	rm -rf build
