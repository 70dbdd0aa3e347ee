"""LICENSE, CHANGELOG.md, CONTRIBUTING.md and the configuration of pre-commit say what is so."""

from __future__ import annotations

import hashlib
import re
import tomllib

import yaml

from tests.docs.reading import MAKE_TARGETS, read

APACHE_2_SHA256 = "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
"""Of the text that the Apache Software Foundation publishes."""
PROJECT = tomllib.loads(read("pyproject.toml"))["project"]


def test_the_license_is_the_whole_text() -> None:
    assert hashlib.sha256(read("LICENSE").encode()).hexdigest() == APACHE_2_SHA256
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]


def test_the_changelog_has_this_version_and_the_kinds_of_change() -> None:
    text = read("CHANGELOG.md")
    versions = re.findall(r"^## (\S+)(?: - \d{4}-\d{2}-\d{2})?$", text, flags=re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert PROJECT["version"] in versions
    kinds = set(re.findall(r"^### (.*)$", text, flags=re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_guide_says_how_to_do_the_five_things() -> None:
    headings = set(re.findall(r"^## (.*)$", read("CONTRIBUTING.md"), flags=re.MULTILINE))
    assert {"Set up", "Run one test", "Add a step", "Add a metric", "Release"} <= headings


def test_pre_commit_runs_what_ci_runs_first_and_fetches_nothing() -> None:
    (repository,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert repository["repo"] == "local"
    hooks = {hook["entry"].removeprefix("make ") for hook in repository["hooks"]}
    assert hooks <= MAKE_TARGETS
    in_ci = [set(targets.split()) for targets in re.findall(r"\bmake ([a-z ]+)$", read(".ci/run"), flags=re.MULTILINE)]
    assert hooks in in_ci
