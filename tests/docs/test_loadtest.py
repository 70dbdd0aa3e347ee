"""docs/loadtest.md is true: its options are those that there are, and its lines run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_INVALID, EXIT_PASSED, EXIT_WRONG
from loadtest.verdict.parts import GROUPS
from loadtest.verdict.steps import MAX_REFUSAL_MS, MIN_GOODPUT_SHARE, MIN_IN_TIME_SHARE, OUTCOMES
from tests.conftest import ROOT
from tests.loadtest.conftest import loadtest, write_texts
from tests.server import Server

TEXT = (ROOT / "docs" / "loadtest.md").read_text(encoding="utf-8")
OF_RUN, _, REST = TEXT.partition("\n## Overload")
OF_OVERLOAD, _, OF_LOCUST = REST.partition("\n## Locust")
(LINE,) = re.findall(r"^python -m loadtest run (.*)$", TEXT, flags=re.MULTILINE)
(OVERLOAD_LINE,) = re.findall(r"^python -m loadtest overload (.*)$", TEXT, flags=re.MULTILINE)


def options(text: str) -> set[str]:
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", text))


def test_it_names_every_option_of_run_and_no_other() -> None:
    said = options(loadtest("run", "--help").stdout) - {"--help"}
    assert options(OF_RUN) == said


def test_it_names_every_option_of_overload_beside_those_of_the_workload() -> None:
    def there(verb: str) -> set[str]:
        return options(loadtest(verb, "--help").stdout)

    assert there("overload") - there("run") <= options(OF_OVERLOAD) <= there("overload")


def test_the_options_that_it_gives_locust_are_there() -> None:
    # In a process of its own, since Locust patches the sockets of whoever imports it.
    script = "import loadtest.locustfile, locust.argument_parser as a; print(a.get_parser().format_help())"
    line = [sys.executable, "-c", script]
    said = options(subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout)
    assert options(OF_LOCUST) <= said
    assert {"--texts", "--p99-ms", "--max-failed", "--max-degraded", "--climb"} <= options(OF_LOCUST)


def test_its_tables_have_every_status_and_every_group() -> None:
    statuses = {int(number) for number in re.findall(r"^\| (\d+) \| ", OF_RUN, flags=re.MULTILINE)}
    assert statuses == {EXIT_PASSED, EXIT_FAILED, EXIT_WRONG, EXIT_INVALID, EXIT_INTERRUPTED}
    for group in GROUPS:
        assert f"\n| {group} | " in TEXT
    for outcome in OUTCOMES:
        assert f"\n| {outcome} | " in OF_OVERLOAD


@pytest.mark.parametrize("kind", ["constant", "poisson", "step", "ramp", "replay"])
def test_every_kind_of_arrivals_is_shown(kind: str) -> None:
    assert re.search(rf"^\| `{kind}:", TEXT, flags=re.MULTILINE)


def test_its_rules_of_overload_are_those_that_are_judged() -> None:
    said = f"at least {MIN_GOODPUT_SHARE:g} of its peak", f"least {MIN_IN_TIME_SHARE:.0%}".replace("%", " %")
    for rule in (*said, f"at most {MAX_REFUSAL_MS:g} ms in the server"):
        assert rule in OF_OVERLOAD


def test_its_line_of_overload_runs(server: Server, tmp_path: Path) -> None:
    url, *rest = shlex.split(OVERLOAD_LINE)
    assert url == "http://127.0.0.1:3000"
    rest[rest.index("messages.tsv.gz")] = str(write_texts(tmp_path / "texts.csv"))
    quick = ("--saturation", 20, "--seconds", 0.5, "--budget-ms", 1000, "--grace-ms", 30_000, "--timeout-s", 60)
    loadtest("overload", server.url, *rest, *quick, "--max-lag-ms", 60_000, "--out", tmp_path)


def test_its_line_runs(server: Server, tmp_path: Path) -> None:
    url, *rest = shlex.split(LINE)
    assert url == "http://127.0.0.1:3000"
    rest[rest.index("messages.tsv.gz")] = str(write_texts(tmp_path / "texts.csv"))
    # As it is written, and then what makes it short, and independent of how busy this machine is.
    quick = ("--arrivals", "poisson:20", "--seconds", 2, "--warm-up", 0, "--slo", "p99=30s", "--timeout-s", 30)
    loadtest(
        "run", server.url, *rest, *quick, "--max-degraded", 1, "--goodput", 1, "--max-lag-ms", 60_000, "--out", tmp_path
    )
