"""README.md is true: its commands exist, its curl lines work, its recipe runs, its tables are what was measured."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from optimize.recipe import read_recipe
from serving.settings import Settings
from tests.conftest import ROOT, messages, optimize
from tests.optimize.test_cli import VERBS
from tests.server import Server
from tests.service.test_api import digit

README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def writer() -> Any:
    """docs/readme.py, which writes README's figures and answers."""
    spec = importlib.util.spec_from_file_location("readme", ROOT / "docs" / "readme.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_its_make_targets_and_verbs_exist() -> None:
    said = re.findall(r"`make ([a-z0-9 -]+)", README) + re.findall(r"^make ([a-z0-9-]+)", README, flags=re.MULTILINE)
    known = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = {word for line in said for word in line.split()}
    assert {"demo", "test", "serve", "tables", "test-slow"} <= named <= known
    assert set(re.findall(r"python -m optimize ([a-z-]+)", README)) <= set(VERBS)
    (table,) = re.findall(r"\| verb \| does \|\n(.*?)\n\n", README, flags=re.DOTALL)
    assert {verb for row in table.splitlines() for verb in re.findall(r"`([a-z-]+)`", row.split("|")[1])} == {
        *VERBS
    } - {"list", "show"}


def test_every_endpoint_has_a_curl_line_with_its_answer(writer: Any) -> None:
    shown = [match[1] for match in writer.EXAMPLE.finditer(README)]
    for endpoint in ("classify_text ", "classify_texts ", "classify_image ", "models"):
        assert any(f"localhost:3000/{endpoint}" in line for line in shown), endpoint


def shape(value: Any, depth: int = 3) -> Any:
    """Keys and types, without what differs from model to model."""
    if isinstance(value, dict) and depth:
        free = {"scores", "quality", "timings_ms", "drift"}
        return {key: "..." if key in free else shape(item, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item, depth) for item in value[:2]]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_its_curl_lines_get_answers_of_the_shape_it_shows(writer: Any, server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "build" / "demo"
    folder.mkdir(parents=True)
    (folder / "digits-0.png").write_bytes(digit(1))
    pairs = [(match[1], json.loads(match[2])) for match in writer.EXAMPLE.finditer(README)]
    assert len(pairs) == 4
    for line, answer in pairs:
        got = json.loads(writer.run(line.replace("http://localhost:3000", server.url), tmp_path))
        # An answer may be degraded (a string) or not (null), whatever README's was.
        assert re.sub("'str'|'NoneType'", "x", str(shape(got))) == re.sub("'str'|'NoneType'", "x", str(shape(answer)))
    others = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
    for line in (line for line in others if line.startswith("curl") and "budget_ms=50" in line):
        got = json.loads(writer.run(line.replace("http://localhost:3000", server.url), tmp_path))
        assert got["stage"] in ("screen", "expert")


def test_its_recipe_runs(tiny_bert: Path, tmp_path: Path) -> None:
    text, *options = re.findall(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    assert len(options) == 3
    (tmp_path / "all.toml").write_text("\n".join([text, *options]))
    assert read_recipe(str(tmp_path / "all.toml")).search is not None
    (tmp_path / "my-cascade.toml").write_text(text)
    (tmp_path / "my-bert").symlink_to(tiny_bert)
    rows = "".join(f'"{text}",{label}\n' for text, label in messages(240, seed=11))
    (tmp_path / "messages.csv").write_text("text,label\n" + rows, encoding="utf-8")
    said = optimize("run", "my-cascade.toml", home=tmp_path / "home", folder=tmp_path).stdout
    assert "published my-cascade-expert:" in said
    assert "published my-cascade-screen:" in said


def test_its_tables_are_those_that_were_measured(writer: Any) -> None:
    assert writer.with_tables(README) == README
    for recipe in ("sms-risk", "cifar10"):
        assert f"**{recipe}** (holdout of" in README


def test_the_tables_of_the_profile_are_those_that_were_measured(writer: Any) -> None:
    text = writer.PROFILING.read_text(encoding="utf-8")
    assert writer.with_profiles(text) == text
    for model in ("sms-risk-expert", "sms-risk-screen"):
        assert f"### {model}\n" in text
        assert f"measured/profile/{model}.svg" in text


def test_the_tables_of_the_docs_are_those_that_were_measured(writer: Any) -> None:
    for page in writer.FIGURE_PAGES:
        text = page.read_text(encoding="utf-8")
        assert writer.with_figures(text) == text
    shown = "".join(page.read_text(encoding="utf-8") for page in writer.FIGURE_PAGES)
    for name in writer.FIGURES:
        assert shown.count(f"<!-- {name}: begin -->") == 1
        _, _, block = shown.partition(f"<!-- {name}: begin -->\n")
        assert not block.startswith("<!--"), f"nothing is shown of {name}"
        assert (writer.MEASURED / "figures" / f"{name}.json").is_file()


def test_the_paths_it_names_exist() -> None:
    for name in re.findall(r"`((?:docs|serving|optimize|tests|loadtest|deploy)/[\w./-]*)`", README):
        assert (ROOT / name).exists(), name
    assert subprocess.run(["test", "-x", ROOT / ".ci" / "run"], check=False).returncode == 0


def test_its_table_of_settings_has_every_setting_and_its_default() -> None:
    (table,) = re.findall(r"\| setting \| default \| is \|\n(.*?)\n\n", README, flags=re.DOTALL)
    said = {
        name: float(row.split("|")[2])
        for row in table.splitlines()[1:]
        for name in re.findall(r"`([a-z_]+)`", row.split("|")[1])
    }
    assert said == Settings().model_dump()
