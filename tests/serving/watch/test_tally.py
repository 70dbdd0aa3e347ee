"""Counting: what is carried over is what prometheus_client would have counted, also by several processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.watch.tally import Counts, Tallies
from tests.conftest import ROOT


@given(st.lists(st.one_of(st.floats(0, 3), st.sampled_from([0.1, 0.5, 1.0]))))
def test_a_tally_says_what_the_histogram_itself_would(values: list[float]) -> None:
    registry = CollectorRegistry()
    ours, theirs = (
        Histogram(name, "x", ["part"], buckets=(0.1, 0.5, 1.0), registry=registry) for name in ("ours", "theirs")
    )
    tallies = Tallies(ours)
    for place, value in enumerate(values):
        tallies.observe(value, "a")
        theirs.labels("a").observe(value)
        if place % 3 == 0:
            tallies.flush()
    tallies.flush()
    for suffix, extra in (("count", {}), *(("bucket", {"le": le}) for le in ("0.1", "0.5", "1.0", "+Inf"))):
        got = [registry.get_sample_value(f"{name}_{suffix}", {"part": "a", **extra}) for name in ("ours", "theirs")]
        assert (got[0] or 0) == (got[1] or 0)


def test_counts_are_carried_over_once() -> None:
    registry = CollectorRegistry()
    counts = Counts(Counter("told", "x", ["outcome"], registry=registry))
    for _ in range(3):
        counts.add("ok")
        counts.flush()
        counts.flush()
    assert registry.get_sample_value("told_total", {"outcome": "ok"}) == 3


WORKER = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
from serving.load.admission import Admission
from serving.cascade.drift import Drift
from serving.watch.metrics import Metrics
metrics = Metrics(folder)
admission = Admission()
admission.enter("high")
metrics.watch_admission(admission)
metrics.shed("normal", "limit")
metrics.drift_reporter("text")(Drift(n=10, psi=float(sys.argv[2]), escalation_share=0.1, drifted=True, reasons=()))
metrics.flush()
from serving.watch.metrics import exposition
print(exposition(folder)[0].decode(), flush=True)
sys.stdin.read()
"""


def test_processes_add_up_and_the_dead_leave_no_gauge(tmp_path: Path) -> None:
    def worker(psi: float) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", WORKER, str(tmp_path), str(psi)],
            cwd=ROOT,
            env={"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PATH": "/usr/bin:/bin"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def said(process: subprocess.Popen[str]) -> dict[str, float]:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            if not line.strip():
                break
            if not line.startswith("#"):
                lines.append(line.rsplit(" ", 1))
        return {name: float(value) for name, value in lines}

    shed, psi = 'sieve_shed_total{priority="normal",reason="limit"}', 'sieve_drift_psi{modality="text"}'
    running = [worker(0.5)]
    try:
        first = said(running[0])
        running.append(worker(0.25))
        second = said(running[1])
        assert (first["sieve_in_flight"], second["sieve_in_flight"]) == (1, 2)
        assert (second[shed], second[psi]) == (2, 0.5), "of a state the worst counts"
        running[0].kill()
        running[0].wait(10)
        running.append(worker(0.1))
        third = said(running[2])
        assert third["sieve_in_flight"] == 2, "the dead one has nothing in flight"
        assert (third[shed], third[psi]) == (3, 0.25), "what it counted stays"
    finally:
        for process in running:
            process.kill()
            process.communicate()
