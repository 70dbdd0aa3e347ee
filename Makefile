# make demo: the whole road on embedded data; make test: the tests. Both make .venv first.
PYTHON ?= python3.11
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo serve test test-slow lint types check clean sms-risk cifar10 tables

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

# Copy the measured summaries into docs/measured and write README's table from them.
tables: .venv/.installed
	$(BIN)/python -m optimize.report build/sms-risk/summary.json build/cifar10/summary.json

clean:
	rm -rf build
