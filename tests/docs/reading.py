"""Pages as tests read them: their code blocks, tables, commands and links."""

from __future__ import annotations

import re
from pathlib import Path

from tests.conftest import ROOT

PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "examples").rglob("README.md"),
    ]
)
MAKE_TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))


def read(name: str) -> str:
    """A page, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The code blocks of one language, also those inside lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    return ["\n".join(line.removeprefix(indent) for line in block.splitlines()) for indent, block in found]


def commands(text: str) -> list[str]:
    """The lines of all shell blocks, without their remarks."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    return [line.partition("    #")[0].strip() for line in lines if line.strip()]


def table(text: str, head: str) -> list[list[str]]:
    """The cells of each row of the one table that begins with the line `head`."""
    (rows,) = re.findall(rf"^{re.escape(head)}\n\|[ :|-]+\n((?:\|.*\n)+)", text, flags=re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows.splitlines()]


def make_targets(text: str) -> set[str]:
    """What the page tells a reader to `make`."""
    said = re.findall(r"`make ([a-z0-9 -]+)", text) + re.findall(r"^ *make ([a-z0-9 -]+)", text, flags=re.MULTILINE)
    return {word for line in said for word in line.split()}


def paths(text: str) -> set[str]:
    """Paths of the repository that the page names as code; NAME stands for any name."""
    folders = "docs|serving|optimize|tests|loadtest|deploy|benchmarks|examples"
    return {path for path in re.findall(rf"`((?:{folders})/[\w./-]*)`", text) if "NAME" not in path}


def links(page: Path) -> set[Path]:
    """Files that the page links to."""
    found = re.findall(r"\]\(([^)\s:#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    return {(page.parent / link).resolve() for link in found}
