"""What a bentofile.yaml or an argument says cannot add an instruction to the Dockerfile of a Bento."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from _bentoml_impl.docker import generate_dockerfile
from bentoml._internal.bento.bento import ImageInfo

from tests.conftest import ROOT, TinyCascades
from tests.server import command

BAD = "x\nRUN touch /added\n"
INSTRUCTIONS = frozenset(
    [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ]
)
NAMES = ("--arg", "text=tiny-text", "--arg", "image=")
FIELDS: dict[str, dict[str, Any]] = {
    "a label's value": {"labels": {"owner": BAD}},
    "a label's name": {"labels": {BAD: "x"}},
    "the name": {"name": BAD},
    "the description": {"description": BAD},
    "a file that is included": {"include": [BAD]},
    "a file that is excluded": {"exclude": [BAD]},
    "a variable's name": {"envs": [{"name": BAD, "value": "x"}]},
    "the version of Python": {"docker": {"python_version": BAD}},
    "the base image": {"docker": {"base_image": BAD}},
    "a package of the system": {"docker": {"system_packages": [BAD]}},
    "a package of Python": {"python": {"packages": [BAD]}},
    "an index": {"python": {"index_url": BAD}},
    "a script": {"docker": {"setup_script": BAD}},
}
WORDS = {
    "a label": ("--label", f"owner={BAD}"),
    "the version": ("--version", BAD),
    "the name": ("--name", BAD),
    "a cascade": ("--arg", f"text={BAD}"),
    "the settings": ("--arg", f"settings={BAD}"),
    "an address": ("--arg", f"text_expert_url={BAD}"),
}


def instructions(text: str) -> list[str]:
    """The first word of each instruction, as a builder reads the file: a backslash at a line's end goes on."""
    found, goes_on = [], False
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if not goes_on:
            found.append(stripped.partition(" ")[0].upper())
        goes_on = stripped.endswith("\\")
    assert set(found) <= INSTRUCTIONS, found
    return found


class Checkout:
    """A copy of what is built, whose bentofile.yaml may be changed."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder, self.home = folder / "checkout", home
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "serving", self.folder / "serving", ignore=ignored)
        for name in ("service.py", "dockerfile.py", "pyproject.toml", "constraints.txt", "bentofile.yaml"):
            shutil.copy(ROOT / name, self.folder)

    def dockerfiles(self, fields: Mapping[str, Any], *words: str) -> list[str]:
        """Those of a build, as it is written and as `bentoml containerize` writes it anew; none if it is refused."""
        stated = {**yaml.safe_load((ROOT / "bentofile.yaml").read_text()), **fields}
        (self.folder / "bentofile.yaml").write_text(yaml.safe_dump(stated))
        line, environment = command("build", *NAMES, *words, "--output", "tag", home=self.home)
        built = subprocess.run(line, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        if built.returncode:
            return []
        name, version = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:").split(":")
        bento = self.home / "bentos" / name / version
        image = ImageInfo(**yaml.safe_load((bento / "bento.yaml").read_text())["image"])
        written = (bento / "env" / "docker" / "Dockerfile").read_text()
        again = [generate_dockerfile(image, bento, enable_buildkit=buildkit) for buildkit in (False, True)]
        return [written, *again]


@pytest.fixture(scope="module")
def checkout(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("built")
    home = Path(shutil.copytree(tiny_cascades.home / "models", folder / "home" / "models")).parent
    return Checkout(folder, home)


@pytest.fixture(scope="module")
def usual(checkout: Checkout) -> list[str]:
    """The instructions of the Bento as it is."""
    (found,) = {tuple(instructions(text)) for text in checkout.dockerfiles({})}
    return list(found)


def added(usual: list[str], text: str) -> bool:
    """Whether the Dockerfile has other instructions than usual, but for those of a variable, ARG and ENV."""
    ours = [word for word in instructions(text) if word not in ("ARG", "ENV")]
    return ours != [word for word in usual if word not in ("ARG", "ENV")]


def test_bentoml_writes_a_variables_line_breaks_into_the_dockerfile(checkout: Checkout) -> None:
    """It does, to 1.4.40: SECURITY.md says so, and bentofile.yaml is trusted. If this fails, mend that page."""
    (first, *_) = checkout.dockerfiles({"envs": [{"name": "OWNER", "value": BAD}]})
    assert "\nRUN touch /added\n" in first


@pytest.mark.parametrize("place", FIELDS)
def test_a_field_of_bentofile_adds_nothing(checkout: Checkout, usual: list[str], place: str) -> None:
    assert not [text for text in checkout.dockerfiles(FIELDS[place]) if added(usual, text)]


@pytest.mark.parametrize("place", WORDS)
def test_a_word_of_the_command_adds_nothing(checkout: Checkout, usual: list[str], place: str) -> None:
    assert not [text for text in checkout.dockerfiles({}, *WORDS[place]) if added(usual, text)]
