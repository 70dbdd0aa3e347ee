"""What KEDA asks Prometheus: each query is a rule, each rule reads metrics that there are, and it gives the number that
the simulation of the autoscaler takes it to give.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from loadtest.queueing.autoscaler import Rates, offered_work, pods_for_deadlines
from tests.conftest import ROOT
from tests.deploy.test_kubernetes import FOLDER, rendered
from tests.deploy.test_prometheus import PROMETHEUS, tool
from tests.docs.reading import blocks, commands, read

SCALED = ROOT / "deploy" / "kubernetes" / "components" / "keda" / "scaled-objects.yaml"
RULES: list[dict[str, Any]] = [
    rule
    for name in ("recording", "scaling")
    for group in yaml.safe_load((PROMETHEUS / "rules" / f"{name}.yml").read_text())["groups"]
    for rule in group["rules"]
]
TRIGGERS = [
    (one["metadata"]["name"], trigger)
    for one in yaml.safe_load_all(SCALED.read_text())
    for trigger in one["spec"]["triggers"]
]
BASE = Rates(pods=4, work=2.0, busy=2.0, answered=40, missed=0)
CASES = [
    BASE,
    replace(BASE, missed=40),
    replace(BASE, work=2.6, missed=1),
    replace(BASE, missed=4),
    replace(BASE, work=0.4, missed=4),
    replace(BASE, work=3.6, missed=120),
    replace(BASE, answered=0, missed=40),
    replace(BASE, work=0, answered=0),
]
SECONDS = 15


def test_every_query_is_a_rule_of_our_own_metrics() -> None:
    own = "".join(path.read_text() for path in (ROOT / "serving" / "watch").glob("*.py"))
    names = {rule["record"] for rule in RULES}
    assert {re.sub(r"\{.*", "", trigger["metadata"]["query"]) for _, trigger in TRIGGERS} <= names
    for rule in RULES:
        for metric in re.findall(r"\b(sieve_\w+)", rule["expr"]):
            plain = re.sub("_(total|bucket|count|sum)$", "", metric)
            assert f'"{plain}"' in own or f'"{plain.removeprefix("sieve_")}"' in own, metric


def test_the_guide_loads_the_rules_and_scrapes_every_pod(tmp_path: Path) -> None:
    guide = read("docs/kubernetes.md")
    (command,) = [line for line in commands(guide) if "PrometheusRule" in line]
    line = command.replace("kubectl -n sieve apply -f -", "sed '1s/^/---\\n/'")
    done = subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {one["metadata"]["name"]: one["spec"] for one in yaml.safe_load_all(done.stdout)}
    rules = {f"sieve-{path.stem}": yaml.safe_load(path.read_text()) for path in (PROMETHEUS / "rules").glob("*.yml")}
    assert loaded == rules
    (monitor,) = [yaml.safe_load(block) for block in blocks(guide, "yaml") if "PodMonitor" in block]
    (selected,) = monitor["spec"]["selector"]["matchExpressions"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    deployments = [one for (kind, _), one in rendered(FOLDER / "overlays" / "cpu").items() if kind == "Deployment"]
    for one in deployments:
        pod = one["spec"]["template"]
        assert pod["metadata"]["labels"][selected["key"]] in selected["values"]
        assert endpoint["port"] in [port["name"] for port in pod["spec"]["containers"][0]["ports"]]
    assert len(selected["values"]) == len(deployments)


def test_without_an_answer_of_prometheus_keda_falls_back_instead_of_scaling_down() -> None:
    for name, trigger in TRIGGERS:
        assert trigger["metricType"] == "AverageValue", f"{name}: older versions of KEDA fall back for no other type"
        assert trigger["metadata"]["ignoreNullValues"] == "false"
        assert "vector(0)" not in trigger["metadata"]["query"]


def series(of: str, per_s: float) -> dict[str, str]:
    return {"series": of, "values": f"0+{per_s * SECONDS:g}x40"}


def fed(rates: Rates) -> Iterator[dict[str, str]]:
    """Counters of text experts and APIs that grow at these rates."""
    for pod in range(rates.pods):
        yield series(f'sieve_expert_work_seconds_total{{modality="text", pod="{pod}"}}', rates.work / rates.pods)
        yield series(f'sieve_cpu_seconds_total{{pod="{pod}"}}', rates.work / rates.pods)
    answers = 'sieve_answers_total{modality="text", stage='
    if rates.answered:
        yield series(f'{answers}"expert", degraded="no", pod="0"}}', rates.answered / 2)
        yield series(f'{answers}"expert", degraded="no", pod="1"}}', rates.answered / 2)
    yield series(f'{answers}"screen", degraded="no"}}', 1_000)
    if rates.missed:
        yield series(f'{answers}"screen", degraded="deadline"}}', rates.missed / 4)
        yield series(f'{answers}"screen", degraded="shed"}}', rates.missed / 4 * 3)
        yield series(f'{answers}"screen", degraded="down"}}', 50)
    if rates.answered:
        yield series('sieve_budget_left_seconds_count{endpoint="/classify_text"}', rates.answered)
        yield series('sieve_budget_left_seconds_bucket{endpoint="/classify_text", le="0.0"}', rates.answered / 50)
    if rates.missed:
        yield series('sieve_shed_total{priority="normal", reason="limit"}', rates.missed)


@pytest.mark.parametrize("rates", CASES, ids=str)
def test_a_rule_gives_what_the_simulation_takes_it_to_give(rates: Rates, tmp_path: Path) -> None:
    each = rates.work / rates.pods
    late = bool(rates.answered) and 0.2 < each < 0.7
    wanted = {
        'sieve:expert_work_offered:rate1m{modality="text"}': offered_work(rates),
        'sieve:expert_pods_for_deadlines{modality="text"}': pods_for_deadlines(rates),
        "sieve:api_work_offered:rate1m": offered_work(rates),
        "sieve:api_pods_for_budgets": rates.pods * 1.25 * late,  # one answer of 50 is late
    }
    samples = [
        {
            "expr": f"round({query}, 0.001)",
            "eval_time": "5m",
            "exp_samples": [{"labels": "{" + "".join(re.findall(r"\{(.*)\}", query)) + "}", "value": round(value, 3)}],
        }
        for query, value in wanted.items()
    ]
    test = {"interval": f"{SECONDS}s", "input_series": list(fed(rates)), "promql_expr_test": samples}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump({"rule_files": [str(PROMETHEUS / "rules" / "scaling.yml")], "tests": [test]}))
    done = subprocess.run(
        [tool("promtool"), "test", "rules", str(file)], capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
