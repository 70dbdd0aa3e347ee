"""deploy/compose.yaml: there is no engine here, so its form, its files and its addresses are what is checked."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from serving.audit_worker.__main__ import _parser
from serving.settings import Settings, for_machines
from serving.watch.tracing import tracing_settings
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
# The ports on which these images listen by default.
LISTENS = {
    "sieve": {"3000"},
    "prometheus": {"9090"},
    "grafana": {"3000"},
    "jaeger": {"16686", "4318"},
    "nats": {"4222"},
}
WITHOUT_PORTS = {"audit-worker"}


def test_it_is_a_compose_file() -> None:
    PyCompose.from_yaml(TEXT).validate()
    with pytest.raises(ValueError, match="harbours"):
        PyCompose.from_yaml(TEXT.replace("ports:", "harbours:")).validate()


def test_every_file_that_it_mounts_is_there_and_every_image_has_a_version() -> None:
    assert set(SERVICES) == set(LISTENS) | WITHOUT_PORTS
    mounted = [volume.split(":")[0] for each in SERVICES.values() for volume in each.get("volumes", ())]
    files = [name for name in mounted if name.startswith(".")]
    assert len(files) == 5
    for name in files:
        assert (DEPLOY / name).exists(), name
    for each in SERVICES.values():
        assert re.search(r":[\w.]+$", each["image"]), each["image"]
        assert not each["image"].endswith(":latest")


def test_addresses_agree() -> None:
    prometheus = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    tracing = SERVICES["sieve"]["environment"]
    addresses = [
        *prometheus["scrape_configs"][0]["static_configs"][0]["targets"],
        *(source["url"].removeprefix("http://") for source in sources),
        tracing["OTEL_EXPORTER_OTLP_ENDPOINT"].removeprefix("http://"),
    ]
    assert len(addresses) == 4
    for address in addresses:
        name, port = address.split(":")
        assert port in LISTENS[name], address
    for name, each in SERVICES.items():
        for published in each.get("ports", ()):
            assert published.split(":")[-1] in LISTENS[name]
    settings = tracing_settings(tracing)
    assert settings is not None
    assert 0 < settings.share < 1


def test_grafana_finds_its_dashboard_and_its_data_source() -> None:
    volumes = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
    (provider,) = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/sieve.yml").read_text())["providers"]
    folder = DEPLOY / volumes[provider["options"]["path"]]
    dashboards = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    assert [dashboard["uid"] for dashboard in dashboards] == ["sieve"]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (folder / home.removeprefix(provider["options"]["path"] + "/")).is_file()
    sources = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"]
    uids = {source["uid"] for source in sources}
    panels = [panel for panel in dashboards[0]["panels"] if panel["type"] != "row"]
    assert all(panel["datasource"]["uid"] in uids for panel in panels)
    assert all(target["datasource"]["uid"] in uids for panel in panels for target in panel["targets"])
    assert len({panel["id"] for panel in dashboards[0]["panels"]}) == len(dashboards[0]["panels"])


def test_audits_go_through_a_broker_only_where_its_profile_is_chosen() -> None:
    with_profile = {name for name, each in SERVICES.items() if each.get("profiles") == ["audit-broker"]}
    assert with_profile == {"nats", "audit-worker"}
    # Without the variable it is empty, and then the service has no broker.
    assert {SERVICES[name]["environment"]["SIEVE_AUDIT_URL"] for name in ("sieve", "audit-worker")} == {
        "${SIEVE_AUDIT_URL:-}"
    }
    assert for_machines(Settings(), {"SIEVE_AUDIT_URL": ""}).audit_url == ""
    (url,) = re.findall(r"SIEVE_AUDIT_URL=(\S+) docker", TEXT)
    assert for_machines(Settings(), {"SIEVE_AUDIT_URL": url}).audit_url == url
    name, port = url.rpartition("@")[2].split(":")
    assert port in LISTENS[name]
    worker = SERVICES["audit-worker"]
    assert worker["image"] == SERVICES["sieve"]["image"]
    assert worker["entrypoint"] == ["python", "-m", "serving.audit_worker"]
    assert str(_parser({}).parse_args(worker["command"]).store) == f"{Path(worker['working_dir']).parent}/models"
