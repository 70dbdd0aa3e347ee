"""`python -m loadtest capacity`: how many replicas of a real service, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadtest.__main__ import EXIT_PASSED, EXIT_WRONG, main
from tests.server import Server


def test_capacity_of_a_real_service(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["capacity", server.url, "--rate", "20000", "--budget-ms", "1000", "--slo", "p99=1s"]
    assert main([*arguments, "--escalation-share", "0.02", "--out", str(tmp_path)]) == EXIT_PASSED
    result = json.loads((tmp_path / "capacity.json").read_text())
    assert result["replicas"] >= 2
    assert result["asked"]["escalation_share"] == 0.02
    assert result["tables"]["api_ms"]["p50"] > 0
    assert f"{result['replicas']} replicas" in capsys.readouterr().out.replace("\n", " ")


@pytest.mark.parametrize(
    ("more", "option"),
    [
        (["--slo", "p99=50ms", "--slo", "p50=5ms"], "--slo"),
        (["--goodput", "5"], "--goodput"),
        (["--goodput-degraded", "5"], "--goodput"),
        (["--image-share", "0.5"], "--image-share"),
    ],
)
def test_what_the_simulation_does_not_know_is_refused(
    more: list[str], option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["capacity", "http://127.0.0.1:9", "--rate", "10", *more]) == EXIT_WRONG
    assert f"error: {option}: must" in capsys.readouterr().err
