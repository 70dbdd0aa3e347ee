"""A run's verdict for other tools: JUnit's XML for CI, and Prometheus' text for a textfile collector."""

from __future__ import annotations

from pathlib import Path

from junitparser import Error, Failure, JUnitXml, TestCase, TestSuite
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from loadtest.pages.files import write_text
from loadtest.pages.report import judged_line
from loadtest.verdict.result import RunResult


def write_junit(path: Path, result: RunResult) -> None:
    """One test case for each part of the objective, and one for the generator, which is an error in an invalid run."""
    suite = TestSuite("loadtest")
    generator = TestCase("the generator keeps its schedule", "loadtest.run", result["figures"]["seconds"])
    if not result["valid"]:
        lag_ms, limit_ms = result["generator_lag_p99_ms"], result["generator_lag_limit_ms"]
        generator.result = [Error(f"p99 of its lag {lag_ms:g} ms, at most {limit_ms:g} asked")]
    suite.add_testcase(generator)
    for row in result["objective"]:
        case = TestCase(row["what"], "loadtest.run")
        if not row["holds"]:
            case.result = [Failure(judged_line(row))]
        suite.add_testcase(case)
    xml = JUnitXml("loadtest")
    xml.add_testsuite(suite)
    write_text(path, xml.tostring().decode())  # type: ignore[no-untyped-call]  # junitparser leaves it without types


def write_prometheus(path: Path, result: RunResult) -> None:
    """The figures as gauges whose names begin with `loadtest_`; a percentile that is infinite is +Inf."""
    registry, figures = CollectorRegistry(), result["figures"]

    def gauge(name: str, said: str, *labels: str) -> Gauge:
        return Gauge(f"loadtest_{name}", said, labels, registry=registry)

    gauge("passed", "1 where the run was valid and kept its objective").set(result["passed"])
    gauge("valid", "1 where the generator kept its schedule").set(result["valid"])
    gauge("offered_per_second", "requests a second").set(figures["offered_per_s"])
    gauge("goodput_per_second", "full answers in time a second").set(figures["goodput_per_s"])
    gauge("generator_lag_seconds", "p99 of the generator's lag").set(result["generator_lag_p99_ms"] / 1e3)
    requests = gauge("requests", "requests by outcome", "outcome")
    for outcome, count in figures["outcomes"].items():
        requests.labels(outcome).set(count)
    latency = gauge("latency_seconds", "percentiles of all that was asked", "percentile")
    for name, estimate in figures["asked_ms"].items():
        latency.labels(name).set(float("inf") if estimate["ms"] is None else estimate["ms"] / 1e3)
    write_text(path, generate_latest(registry).decode())
