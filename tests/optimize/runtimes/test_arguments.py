from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest

from optimize.runtimes import compare as module
from optimize.runtimes.arguments import add_runtimes


def test_options_become_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(module, "compare", lambda *arguments: asked.append(arguments))
    parser = argparse.ArgumentParser()
    add_runtimes(parser)
    line = "sms-risk --variant all --threads 2 --batch-sizes 1,4 --tokens 64 --rounds 5 --seconds 2 --wait 9 --build b"
    options = parser.parse_args(line.split())
    options.call(options)
    ((name, settings, command),) = asked
    assert (name, settings.variants, settings.batch_sizes, settings.tokens) == ("sms-risk", ("all",), (1, 4), 64)
    assert (settings.build, settings.out) == (Path("b"), Path("build/runtimes"))
    pace = settings.pace
    assert (pace.threads, pace.rounds, pace.seconds, pace.wait_s) == (2, 5, 2.0, 9.0)
    assert command.startswith("python -m optimize")
