"""docs/keys.md and SECURITY.md: the commands make a file that is read, and the tables are those of the code."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import bentoml
import pytest

from serving.http.gate import HEALTH, KeyOutcome, is_open
from serving.http.keys import RIGHTS, Entry, read_keys
from serving.oip.rpc_gate import CODES
from serving.oip.rpc_gate import OPEN as OPEN_CALLS
from serving.settings import read_settings
from tests.conftest import ROOT
from tests.docs.reading import blocks, read, table

TEXT = read("docs/keys.md")


def test_its_commands_make_a_file_that_is_read(tmp_path: Path) -> None:
    lines = [line for line in "\n".join(blocks(TEXT, "sh")).splitlines() if line.startswith("python -m serving")]
    assert len(lines) == 2
    for line in lines:
        command, _, file = line.partition(" >> ")
        done = subprocess.run(
            [sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=True
        )
        with (tmp_path / file).open("a") as out:
            out.write(done.stdout)
    shop, prometheus = read_keys(tmp_path / "keys.toml")
    assert (shop.name, prometheus.name, prometheus.rights) == ("shop", "prometheus", {"metrics"})
    for line in lines:
        assert line in read("docs/kubernetes.md")


def test_the_entry_that_it_shows_is_one(tmp_path: Path) -> None:
    entry, settings = blocks(TEXT, "toml")
    (tmp_path / "keys.toml").write_text(entry)
    (key,) = read_keys(tmp_path / "keys.toml")
    assert key.name == "shop"
    (tmp_path / "settings.toml").write_text(settings)
    assert read_settings(tmp_path / "settings.toml").trusted_proxies == ("10.0.0.0/8",)


def test_its_tables_have_every_field_right_and_code() -> None:
    fields = {row[0].strip("`") for row in table(TEXT, "| field | is |")} - {"the name"}
    assert fields == set(Entry.model_fields)
    assert [row[0].strip("`") for row in table(TEXT, "| right | opens |")] == list(RIGHTS)
    codes = {row[1].strip("`") for row in table(TEXT, "| status | gRPC | means |")}
    assert codes == {code.name for code in CODES.values()}
    for outcome in KeyOutcome.__args__:  # type: ignore[attr-defined]  # a Literal has them
        assert f"`{outcome}`" in TEXT


def test_it_names_what_needs_no_key() -> None:
    (paragraph,) = re.findall(r"Nobody needs one\n(.*?)\n\n", TEXT, re.DOTALL)
    paths = set(re.findall(r"`(/[\w/]+)`", paragraph))
    assert paths >= HEALTH
    assert all(is_open(path) for path in paths)
    assert {call.rpartition("/")[2] for call in OPEN_CALLS} <= set(re.findall(r"`(\w+)`", paragraph))


def test_security_md_is_about_the_version_that_is_pinned() -> None:
    text = read("SECURITY.md")
    assert f"BentoML is pinned to {bentoml.__version__}." in text
    assert all(re.fullmatch(r"CVE-\d{4}-\d{4,5}", name) for name in re.findall(r"CVE-[\w-]*\d", text))


@pytest.mark.parametrize("heading", ["How to report", "What is promised", "Threat model", "BentoML's advisories"])
def test_security_md_says_what_is_asked_of_it(heading: str) -> None:
    assert f"\n## {heading}\n" in read("SECURITY.md")
