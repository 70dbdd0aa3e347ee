"""Rules, alerts and the dashboard: checked by promtool, and every query asked of a real Prometheus that scrapes a
loaded service.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import REGISTRY

from loadtest.traffic.process import free_port, stop
from serving.watch.gpu import GpuMetrics
from tests.conftest import ROOT, TinyCascades
from tests.server import LIMIT_S, PATIENT_MS, TINY, Server, in_full, serve
from tests.service.test_api import TEXTS, digit
from tests.service.test_load import all_at_once, request, stopped
from tests.serving.conftest import clean_registry as clean_registry
from tests.serving.watch.test_gpu import BUS_IDS, Nvml
from tests.stores import publish

DEPLOY = ROOT / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
ALERTS = [
    rule["alert"]
    for group in yaml.safe_load((PROMETHEUS / "rules" / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]
RULE_TESTS = sorted(path.name for path in PROMETHEUS.glob("*.test.yml"))
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "sieve.json").read_text())
EVERY_QUERY = [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", ())]
OF_GPU = re.compile(r"sieve_gpu_\w+")
QUERIES = [query for query in EVERY_QUERY if not OF_GPU.search(query)]
"""Those that return data where no expert has a variant for GPUs."""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments",
    [("check", "config", "prometheus.yml"), *(("test", "rules", name) for name in RULE_TESTS)],
    ids=" ".join,
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [tool("promtool"), *arguments], cwd=PROMETHEUS, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested_to_fire_and_to_stay_silent() -> None:
    tests = [test for name in RULE_TESTS for test in yaml.safe_load((PROMETHEUS / name).read_text())["tests"]]
    asked = [(each["alertname"], bool(each["exp_alerts"])) for test in tests for each in test["alert_rule_test"]]
    for alert in ALERTS:
        assert {(alert, True), (alert, False)} <= set(asked), alert


def test_every_alert_has_its_section_in_the_guide() -> None:
    pages = ("operations.md", "gpu.md", "shadow.md")
    guide = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in pages)
    assert set(re.findall(r"^### (Sieve\w+)", guide, re.MULTILINE)) == set(ALERTS)


def test_what_is_asked_of_gpus_is_what_is_told_of_them(clean_registry: None) -> None:
    GpuMetrics(BUS_IDS, Nvml()).sample()
    told = {"sieve_gpu_missing"} | {
        family.name for family in REGISTRY.collect() if family.name.startswith("sieve_gpu_")
    }
    rules = (PROMETHEUS / "rules" / "alerts.yml").read_text()
    assert set(OF_GPU.findall(" ".join(EVERY_QUERY))) == told
    assert set(OF_GPU.findall(rules)) < told
    assert any(panel["type"] == "row" and panel["title"] == "GPUs" for panel in DASHBOARD["panels"])


@pytest.fixture(scope="module")
def loaded(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Both tiny cascades in a process of their own: what the session's server has counted is another test's."""
    folder = tmp_path_factory.mktemp("loaded")
    shutil.copytree(tiny_cascades.home / "models", folder / "home" / "models", symlinks=True)
    publish(folder / "home" / "models", "tiny-next", "v1", of="tiny-text")
    (folder / "settings.toml").write_text(
        "workers = 1\nmax_in_flight = 16\ncache_mb = 1\naudit_share = 1.0\nshadow_share = 1.0\n"
    )
    settings = ("--arg", f"settings={folder / 'settings.toml'}")
    shadow = ("--arg", "shadow_text=tiny-next")
    with serve(*TINY, *shadow, *settings, home=folder / "home", folder=ROOT, log=folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def told(tiny_cascades: TinyCascades, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is told right labels; it has more addresses than the other one, and so more series."""
    folder = tmp_path_factory.mktemp("told")
    (folder / "settings.toml").write_text("workers = 1\nfeedback_memory = 1000\n")
    settings = ("--arg", f"settings={folder / 'settings.toml'}", "--arg", "text=tiny-text", "--arg", "image=")
    with serve(*settings, home=tiny_cascades.home, folder=ROOT, log=folder / "log") as server:
        yield server


@pytest.fixture(scope="module")
def prometheus(loaded: Server, told: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus with the project's rules that scrapes the loaded service each second."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [
        each.url.removeprefix("http://") for each in (loaded, told)
    ]
    config["rule_files"] = [str(PROMETHEUS / "rules" / "*.yml")]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    line = [tool("prometheus"), f"--config.file={folder / 'prometheus.yml'}", f"--web.listen-address={address}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*line, f"--storage.tsdb.path={folder / 'data'}"], stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield f"http://{address}"
    finally:
        stop(process)


def load(server: Server) -> None:
    """Texts and images, new and equal ones, good and bad, some too late, and once more than can be in flight."""
    texts = [*TEXTS[:24], *(f"{text} {time.monotonic_ns()}" for text in TEXTS[:24])]
    deferred = ""
    with server.client() as client:
        for budget_ms in (0.05, 1000, 1000):
            for text in texts:
                answer = client.post("/classify_text", json={"text": text, "budget_ms": budget_ms}).json()
                if answer.get("stage") == "expert" or answer.get("degraded"):
                    deferred = text
        for index in range(6):
            client.post("/classify_image", files={"image": digit(index)})
        client.post("/classify_text", json={"text": 5})
    assert deferred
    # Whoever is let in stays in: the screen defers this text, and the expert does not answer. The blanks make other
    # texts of it, of which no answer is kept, and which are the same to the tokeniser.
    with stopped(server.worker("TextExpert")):
        requests = [request(n, "high" if n % 9 == 0 else "normal", deferred + " " * n) for n in range(300)]
        asyncio.run(all_at_once(server, requests))


def tell(server: Server) -> None:
    """Ask, and tell that the answer was right."""
    with server.client() as client:
        answer = in_full(client, "/classify_text", json={"text": TEXTS[0], "budget_ms": PATIENT_MS}).json()
        client.post("/feedback", json={key: answer[key] for key in ("request_id", "label")}).raise_for_status()


def asked(url: str, query: str) -> list[dict[str, Any]]:
    reply = httpx.get(f"{url}/api/v1/query", params={"query": query}).json()
    assert reply["status"] == "success", (query, reply)
    return list(reply["data"]["result"])


def test_every_query_of_the_dashboard_and_every_rule_returns_data(
    loaded: Server, told: Server, prometheus: str
) -> None:
    files = [PROMETHEUS / "rules" / f"{name}.yml" for name in ("recording", "scaling")]
    rules = [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]
    queries = [*QUERIES, *(rule["record"] for group in rules for rule in group["rules"])]
    assert len(QUERIES) > 20
    end = time.monotonic() + LIMIT_S
    wanted, outcomes, empty = {"ok", "degraded", "shed", "invalid"}, set[str](), queries
    while empty or not outcomes >= wanted:
        assert time.monotonic() < end, f"no data: {empty}, {wanted - outcomes}"
        load(loaded)
        tell(told)
        empty = [query for query in queries if not numbers(asked(prometheus, query))]
        outcomes = {series["metric"]["outcome"] for series in asked(prometheus, "sieve:requests:rate5m")}
    alerts = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"]
    bad = [rule for group in alerts for rule in group["rules"] if rule["health"] != "ok"]
    assert not bad


def numbers(result: list[dict[str, Any]]) -> list[str]:
    return [series["value"][1] for series in result if series["value"][1] != "NaN"]


def test_no_label_has_what_a_client_makes_up(loaded: Server) -> None:
    marks = [f"made-up-{number}" for number in range(20)]
    end = time.monotonic() + LIMIT_S
    with loaded.client() as client:
        # Every label is there once something was refused.
        while not all(name in client.get("/metrics").text for name in ("sieve_shed_total{", "sieve_shadow_verdict{")):
            assert time.monotonic() < end
            load(loaded)
        for mark in marks:
            client.get(f"/{mark}")
            client.post(f"/{mark}", json={})
            headers = {"X-Request-Id": mark, "User-Agent": mark, "X-Priority": mark, "X-Budget-Ms": mark}
            client.post("/classify_text", json={"text": mark, mark: 1}, headers=headers)
            client.post("/classify_text", json={"text": mark}, headers={"X-Request-Id": mark, "Host": mark})
            client.post("/classify_text?" + mark, json={"text": mark, "budget_ms": 1000})
        text = client.get("/metrics").text
    assert "sieve_requests_total" in text
    assert not [line for line in text.splitlines() if "made-up" in line]
    series = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(line.startswith("sieve_") for line in series), "no other metrics, with labels of their own"
    assert len(series) < 600
    labels = {label for line in series for label in re.findall(r'[{,](\w+)="', line)}
    assert labels == {
        *("endpoint", "outcome", "stage", "model", "modality", "degraded", "priority", "reason", "part", "le"),
        *("role", "digest", "variant", "provider", "device", "process", "how", "weight"),
        *("cascade", "shadow", "side", "bound"),
    }
