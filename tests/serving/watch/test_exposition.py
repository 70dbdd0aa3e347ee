"""What several processes have counted, as one text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from serving.watch.exposition import remove_dead_gauges
from tests.conftest import ROOT


def test_only_gauges_of_processes_that_ended_are_removed(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(10)
    for pid in (ended.pid, os.getpid()):
        for kind in ("gauge_livesum", "counter"):
            (tmp_path / f"{kind}_{pid}.db").touch()
    remove_dead_gauges(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"gauge_livesum_{os.getpid()}.db", f"counter_{os.getpid()}.db", f"counter_{ended.pid}.db"}


WORKER = """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.cascade.drift import Drift
from serving.arguments import Chosen
from serving.watch.metrics import Metrics
metrics = Metrics(folder)
admission = Admission()
admission.enter("high", 0.0, 0.0)
metrics.watch_admission(admission)
metrics.shed("normal", "limit")
tell = metrics.drift_reporter(Chosen("text", "a", 0))
tell(Drift(n=10, psi=float(sys.argv[2]), escalation_share=0.1, drifted=True, reasons=()))
metrics.flush()
from serving.watch.exposition import exposition
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
