"""docs/runtimes.md: its options, runtimes and gates are those that there are."""

from __future__ import annotations

import argparse
import re
import tomllib

from optimize.bounds import Gates
from optimize.runtimes.arguments import add_runtimes
from optimize.runtimes.registry import candidates
from serving.model.tensorrt import LIBRARY
from tests.docs.reading import blocks, read, table

TEXT = read("docs/runtimes.md")


def test_its_options_are_those_that_there_are() -> None:
    parser = argparse.ArgumentParser(add_help=False)
    add_runtimes(parser)
    known = {option for action in parser._actions for option in action.option_strings}
    assert {name for row in table(TEXT, "| option | does |") for name in re.findall(r"--[a-z-]+", row[0])} == known


def test_its_runtimes_are_those_that_are_measured() -> None:
    rows = [row[0] for row in table(TEXT, "| runtime | runs | to have it |")]
    names = {re.split(",", candidate.name)[0] for candidate in candidates()}
    assert set(rows) == names
    assert f"`{LIBRARY}`" in TEXT


def test_its_gates_fit_into_a_recipe() -> None:
    (gates,) = (tomllib.loads(block)["gates"] for block in blocks(TEXT, "toml"))
    assert Gates.model_validate(gates).runtimes == ("onnxruntime", "openvino")
