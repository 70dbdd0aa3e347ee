"""Metrics: what is counted and set, and how several processes share it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from serving.cascade.cascade import StageAnswer
from serving.cascade.drift import Drift
from serving.load.admission import Admission
from serving.load.memory import MemoryLimit
from serving.model.answer import Answer
from serving.watch import metrics as module
from serving.watch.metrics import ExpertMetrics, Metrics, remove_dead_gauges
from serving.watch.record import RequestRecord
from tests.conftest import ROOT
from tests.serving.conftest import sample

ANSWER = Answer(label="a", confidence=0.9, margin=0.8, scores=(0.9, 0.1))


class Escalations:
    """Stands in for the queue before an expert, as far as a metric reads it."""

    def __init__(self, waiting: int, state: str) -> None:
        self.waiting = waiting
        self.breaker = SimpleNamespace(state=lambda _now: state)


def modality(waiting: int = 0, state: str = "closed") -> Any:
    info = {"digest": "1" * 64, "variant": "cpu-int8", "provider": "CPUExecutionProvider"}
    return SimpleNamespace(
        name="text",
        escalations=Escalations(waiting, state),
        screen_tag="screen:1",
        screen_info=info,
        expert_tag="expert:1",
    )


def answered(*degraded: str | None) -> RequestRecord:
    """A record of a request whose items the screen answered."""
    record = RequestRecord("/classify_texts", "one")
    record.was_read(50.0)
    record.timings.end("screen")
    record.answered(
        modality(), [StageAnswer(answer=ANSWER, stage="screen", escalated=False, degraded=why) for why in degraded]
    )
    return record


def test_a_request_and_each_of_its_items_is_counted(metrics: Metrics) -> None:
    async def main() -> None:
        metrics.ended(answered(None, "deadline"), "degraded")

    asyncio.run(main())
    metrics.flush()
    labels = {"endpoint": "/classify_texts", "outcome": "degraded", "stage": "screen", "model": "screen:1"}
    assert sample("sieve_requests_total", **labels) == 1
    for why, count in (("no", 1), ("deadline", 1), ("down", 0)):
        assert sample("sieve_answers_total", modality="text", stage="screen", degraded=why) == count
    assert sample("sieve_latency_seconds_count", endpoint="/classify_texts") == 1
    assert sample("sieve_budget_left_seconds_count", endpoint="/classify_texts") == 1
    assert sample("sieve_part_seconds_count", part="screen") == sample("sieve_part_seconds_count", part="read") == 1


def test_the_times_of_what_was_not_answered_are_not_counted(metrics: Metrics) -> None:
    async def main() -> None:
        for outcome in ("invalid", "failed", "shed", "gone"):
            metrics.ended(RequestRecord("/classify_text", "one"), outcome)

    asyncio.run(main())
    metrics.flush()
    assert sample("sieve_latency_seconds_count", endpoint="/classify_text") == 0
    nobody = {"endpoint": "/classify_text", "stage": "none", "model": "none"}
    assert sample("sieve_requests_total", outcome="shed", **nobody) == 1


def test_counts_are_flushed_by_themselves_and_as_long_as_requests_are_in_flight(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.01)
    admission = Admission(100)
    metrics.watch_admission(admission)

    async def reached(name: str, value: float) -> None:
        async with asyncio.timeout(60):
            while sample(name) != value:
                await asyncio.sleep(0.005)

    async def main() -> None:
        admission.enter("high", 0.0, 0.0)
        metrics.flush_soon()
        await reached("sieve_in_flight", 1)
        admission.leave()
        await reached("sieve_in_flight", 0)

    asyncio.run(main())
    assert sample("sieve_in_flight_limit") == 100


def test_the_breaker_and_the_queue_before_an_expert_are_gauges(metrics: Metrics) -> None:
    for state, value in (("closed", 0), ("half-open", 1), ("open", 2)):
        metrics.watch_modality(modality(waiting=value + 3, state=state))
        assert sample("sieve_breaker_state", modality="text") == value
        assert sample("sieve_escalations_waiting", modality="text") == value + 3
    info = {"modality": "text", "role": "screen", "model": "screen:1", "digest": "1" * 64}
    assert sample("sieve_model_info", variant="cpu-int8", provider="CPUExecutionProvider", **info) == 1


def test_drift_is_a_gauge_of_its_modality(metrics: Metrics) -> None:
    metrics.drift_reporter("image")(Drift(n=10, psi=0.3, escalation_share=0.1, drifted=True, reasons=("psi",)))
    got = [sample(f"sieve_drift_{name}", modality="image") for name in ("psi", "escalation_share", "flag", "items")]
    assert got == [0.3, 0.1, 1, 10]


def test_an_expert_counts_its_runs(clean_registry: None) -> None:
    info = {"model": "expert:1", "digest": "2" * 64, "variant": "cpu-int8", "provider": "CPUExecutionProvider"}
    metrics = ExpertMetrics("text", None, **info)
    metrics.ran(3, 16, 0.02)
    assert sample("sieve_expert_batch_size_sum", modality="text") == 3
    assert sample("sieve_expert_run_seconds_sum", modality="text") == 0.02
    metrics.ran(1, 16, 0.01)
    assert sample("sieve_expert_work_seconds_total", modality="text") == pytest.approx(0.02 + 0.02 / 3)
    assert sample("sieve_model_info", modality="text", role="expert", **info) == 1


def test_a_flush_that_fails_is_not_the_last_one(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.001)
    flushed: list[str] = []

    def failing_once() -> None:
        flushed.append("now")
        if len(flushed) == 1:
            raise OSError("no space left on device")

    async def main() -> None:
        failures: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: failures.append(context["exception"]))
        monkeypatch.setattr(metrics, "flush", failing_once)
        async with asyncio.timeout(60):
            for wanted in (1, 2):
                metrics.flush_soon()
                while len(flushed) < wanted:
                    await asyncio.sleep(0.001)
        assert [type(failure) for failure in failures] == [OSError]

    asyncio.run(main())


def test_the_processor_time_of_the_process_is_counted_from_the_first_metric_on(metrics: Metrics) -> None:
    metrics.flush()
    first, begin = sample("sieve_cpu_seconds_total"), time.process_time()
    while time.process_time() < begin + 0.01:
        pass
    metrics.flush()
    assert 0.01 <= sample("sieve_cpu_seconds_total") - first <= time.process_time(), "start-up is no load"


def test_what_is_exposed_can_be_read_by_prometheus(metrics: Metrics) -> None:
    async def main() -> None:
        metrics.shed("normal", "limit")
        metrics.ended(answered(None), "ok")
        metrics.flush()

    asyncio.run(main())
    body, content_type = metrics.exposition()
    assert content_type.startswith("text/plain")
    ours = {family.name for family in text_string_to_metric_families(body.decode()) if family.name.startswith("sieve_")}
    assert {"sieve_requests", "sieve_shed", "sieve_latency_seconds", "sieve_in_flight"} <= ours


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
from serving.watch.metrics import Metrics
metrics = Metrics(folder)
admission = Admission()
admission.enter("high", 0.0, 0.0)
metrics.watch_admission(admission)
metrics.shed("normal", "limit")
metrics.drift_reporter("text")(Drift(n=10, psi=float(sys.argv[2]), escalation_share=0.1, drifted=True, reasons=()))
metrics.flush()
from serving.watch.metrics import exposition
print(exposition(folder)[0].decode(), flush=True)
sys.stdin.read()
"""


def test_what_uploads_hold_is_reported_with_its_limit(metrics: Metrics) -> None:
    memory = MemoryLimit(1_000)
    metrics.watch_memory(memory)
    assert memory.take_body(300)
    memory.begin_work(100)
    metrics.flush()
    assert (sample("sieve_upload_bytes"), sample("sieve_upload_limit_bytes")) == (400, 1_000)


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
