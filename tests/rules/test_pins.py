"""One list of pins: pyproject.toml, constraints.txt and the Bento agree, and what is served has no torch."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import yaml

import dockerfile

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([A-Za-z0-9_.-]+)(\[[a-z,]+\])?==([\w.+]+)$")


def pins(lines: list[str]) -> dict[str, str]:
    found = {}
    for line in lines:
        match = PIN.match(line)
        assert match, f"{line!r} is not pinned exactly"
        found[match[1].lower().replace("_", "-")] = match[3]
    return found


def project() -> dict[str, object]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_bundle_is_pinned_as_the_project_is() -> None:
    assert pins(dockerfile.PACKAGES) == pins(project()["dependencies"])
    bundle = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    assert {"service", "include", "exclude"} == set(bundle), "a list of its own would be a second one"
    assert {"dockerfile.py", "pyproject.toml", "constraints.txt"} <= set(bundle["include"])


def test_the_image_has_the_python_of_the_constraints() -> None:
    assert project()["requires-python"].startswith(f">={dockerfile.PYTHON},")


def test_every_direct_dependency_is_in_the_constraints() -> None:
    constraints = pins((ROOT / "constraints.txt").read_text().splitlines())
    extras = project()["optional-dependencies"]
    for group in (project()["dependencies"], *extras.values()):
        for name, version in pins(group).items():
            assert constraints[name] == version


def test_what_is_served_needs_no_torch() -> None:
    assert not {"torch", "transformers", "optimum", "neural-compressor"} & set(pins(project()["dependencies"]))


def test_every_dependency_says_why_it_is_there() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for line in re.findall(r'^    "[^"]+==[^"]+",.*$', text, flags=re.MULTILINE):
        assert re.search(r"#.*\w+\W+\w+", line), f"no reason beside {line.strip()}"
