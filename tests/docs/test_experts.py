"""docs/experts.md: its commands can be given, its URLs are taken, and its tables name what is written and installed."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from optimize.servers.arguments import add_export
from optimize.servers.mlserver import mlserver_files
from optimize.servers.triton import triton_files
from serving.expert_url import OTHERS, checked
from tests.docs.reading import blocks, read, table
from tests.optimize.servers.test_graph import graph_of

TEXT = read("docs/experts.md")
COMMANDS = [line for block in blocks(TEXT, "sh") for line in block.strip().splitlines()]


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python -m optimize")])
def test_its_commands_can_be_given(command: str) -> None:
    parser = argparse.ArgumentParser()
    add_export(parser)
    given = parser.parse_args(shlex.split(command)[4:])
    assert (given.name, str(given.folder)) == ("my-cascade", "models")


def test_its_urls_are_taken() -> None:
    written = re.findall(r"oip\+\w+://[^\s`]+", TEXT)
    urls = [url.replace("HOST:PORT", "h:1").replace("HOST", "h") for url in written]
    assert len(urls) > 4
    assert all(checked(url) and OTHERS.fullmatch(url) for url in urls)


def test_its_tables_have_the_files_that_are_written(tmp_path: Path) -> None:
    graph = graph_of(tmp_path)
    for name, files in (("Triton", triton_files(graph)), ("MLServer", mlserver_files(graph))):
        rows = [row[0].strip("` ") for row in table(TEXT, f"| in the folder, for {name} | is |")]
        assert rows == [path.replace(graph.version, "NUMBER") for path in files]


def test_the_servers_that_were_tried_are_those_that_make_installs() -> None:
    pins = "".join(read(f"loadtest/baselines/environments/{server}.txt") for server in ("mlserver", "triton"))
    installed = set(re.findall(r"^(mlserver|nvidia-pytriton)==([\d.]+)", pins, re.MULTILINE))
    rows = " ".join(cell for row in table(TEXT, "| server | tried | seen |") for cell in row)
    assert installed
    assert all(version in rows for _, version in installed)
