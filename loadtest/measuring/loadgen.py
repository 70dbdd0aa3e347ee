"""MLPerf LoadGen as a second client: its own schedule, clock, percentiles and verdict; only the way to send is ours.

LoadGen draws Poisson arrivals (scenario Server). A run is valid when enough of its queries are within the limit by the
rule of early stopping, a binomial bound at 99 % confidence: a p99 takes at least 459 queries. LoadGen knows of no
refusals, so a query whose answer is missing or degraded is reported to it after the limit.
(github.com/mlcommons/inference/blob/master/loadgen/early_stopping.cc)
"""

from __future__ import annotations

import array
import asyncio
import json
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

import uvloop

from loadtest.errors import LoadGenMissingError
from loadtest.traffic.credentials import NO_CREDENTIALS, Credentials
from loadtest.traffic.limit import TimeLimit
from loadtest.traffic.reply import triage
from loadtest.traffic.sample import Sample, read
from loadtest.traffic.sending import Sending

Start = Callable[[int, int], object]
"""Starts a query by its number and the place of its sample."""
PREFIX = ":::MLLOG "
SHARE = 0.99
LATE = 1.1
"""A query without a full answer is told after so many limits."""


class LoadGenRun(TypedDict):
    """One performance run. `early_stopping`: what LoadGen says of it. `not_full`: queries without a full answer."""

    asked_per_s: float
    completed_per_s: float
    valid: bool
    p50_ms: float
    p99_ms: float
    queries: int
    over_limit: int
    not_full: int
    early_stopping: str


class LoadGen:
    """LoadGen before the service at `url`, whose queries are `samples`; its logs go into `folder`.

    A performance run raises LimitError where the time limit `until` is too short for it.
    """

    def __init__(
        self,
        url: str,
        samples: Sequence[Sample],
        folder: Path,
        *,
        limit_ms: float,
        timeout_s: float,
        credentials: Credentials = NO_CREDENTIALS,
        until: TimeLimit | None = None,
    ) -> None:
        self._module = _module()
        self._credentials, self._until = credentials, until
        self._url, self._samples, self._folder = url, samples, folder
        self._limit_s, self._timeout_s = limit_ms / 1e3, timeout_s
        self._not_full = 0

    def performance(self, rate: float, *, seconds: float, queries: int, seed: int) -> LoadGenRun:
        """A run of so many seconds and queries, at least, of Poisson arrivals at `rate`."""
        if self._until is not None:
            self._until.require(seconds, "have a round of LoadGen and of our own search")
        settings = self._settings("PerformanceOnly", seed)
        settings.server_target_qps = rate
        settings.min_duration_ms, settings.min_query_count = round(1e3 * seconds), queries
        said = self._run(settings)
        return {
            "asked_per_s": round(rate, 2),
            "completed_per_s": round(said["result_completed_samples_per_sec"], 2),
            "valid": said["result_validity"] == "VALID",
            "p50_ms": round(said["result_50.00_percentile_latency_ns"] / 1e6, 3),
            "p99_ms": round(said["result_99.00_percentile_latency_ns"] / 1e6, 3),
            "queries": said["result_query_count"],
            "over_limit": said["result_overlatency_query_count"],
            "not_full": self._not_full,
            "early_stopping": " ".join(said["early_stopping_result"].split()),
        }

    def accuracy(self, rate: float) -> float | None:
        """The share of the labelled samples whose label was answered, each sent once; None where no label is known."""
        settings = self._settings("AccuracyOnly", seed=1)
        settings.server_target_qps = rate
        self._run(settings)
        logged = json.loads((self._folder / "mlperf_log_accuracy.json").read_text(encoding="utf-8"))
        said = [(self._samples[row["qsl_idx"]].label, bytes.fromhex(row["data"]).decode()) for row in logged]
        right = [answered == label for label, answered in said if label is not None]
        return round(sum(right) / len(right), 5) if right else None

    def _settings(self, mode: str, seed: int) -> Any:
        settings = self._module.TestSettings()
        settings.scenario = self._module.TestScenario.Server
        settings.mode = getattr(self._module.TestMode, mode)
        settings.server_target_latency_ns = round(1e9 * self._limit_s)
        settings.server_target_latency_percentile = SHARE
        settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = seed
        return settings

    def _run(self, settings: Any) -> dict[str, Any]:
        """Run LoadGen to its end; the last value of each key of its log."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._not_full = 0
        count, output, log = len(self._samples), self._module.LogOutputSettings(), self._module.LogSettings()
        output.outdir, output.copy_summary_to_stdout = str(self._folder), False
        log.log_output, log.enable_trace = output, False
        with _loop(Sending(self._url, self._credentials), self._answer) as start:

            def issue(queries: Sequence[Any]) -> None:
                for query in queries:
                    start(query.id, query.index)

            system = self._module.ConstructSUT(issue, lambda: None)
            library = self._module.ConstructQSL(count, count, lambda _: None, lambda _: None)
            try:
                self._module.StartTestWithLogSettings(system, library, settings, log, "")
            finally:
                self._module.DestroyQSL(library)
                self._module.DestroySUT(system)
        lines = (self._folder / "mlperf_log_detail.txt").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line.removeprefix(PREFIX)) for line in lines if line.startswith(PREFIX)]
        return {row["key"]: row["value"] for row in rows}

    async def _answer(self, sending: Sending, query: int, index: int) -> None:
        sample, began = self._samples[index], time.monotonic()
        label, full = "", False
        try:
            response = await sending.send(sample, self._timeout_s)
            answer = read(sample, response) if response.status == 200 else None
            if answer is not None:
                label = str(answer.get("label", ""))
                full = triage(response.status, answer.get("degraded")) == "ok"
        except (TimeoutError, OSError):
            full = False
        if not full:
            self._not_full += 1
            await asyncio.sleep(LATE * self._limit_s - (time.monotonic() - began))
        data = array.array("B", label.encode())
        place, size = data.buffer_info()
        self._module.QuerySamplesComplete([self._module.QuerySampleResponse(query, place, size)])


@contextmanager
def _loop(opened: Sending, answer: Callable[[Sending, int, int], Coroutine[Any, Any, None]]) -> Iterator[Start]:
    """An event loop in a thread of its own for what was `opened`; gives what starts `answer` there."""
    loop, ready, ended = uvloop.new_event_loop(), threading.Event(), asyncio.Event()
    kept: list[Sending] = []
    tasks: set[asyncio.Task[None]] = set()

    async def work() -> None:
        async with opened as sending:
            kept.append(sending)
            ready.set()
            await ended.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(work()), name="loadgen")
    thread.start()
    ready.wait()

    def begin(query: int, index: int) -> None:
        task = loop.create_task(answer(kept[0], query, index))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    try:
        yield lambda query, index: loop.call_soon_threadsafe(begin, query, index)
    finally:
        loop.call_soon_threadsafe(ended.set)
        thread.join()
        loop.close()


def _module() -> Any:
    """LoadGen, imported for who asks for it. Raises LoadGenMissingError."""
    try:
        import mlperf_loadgen
    except ImportError:
        raise LoadGenMissingError(
            "mlperf needs the package mlcommons-loadgen, and it is not installed; pip install 'sieve[mlperf]'"
        ) from None
    return mlperf_loadgen
