"""What audits may have on Kubernetes: a volume that outlives pods, and a broker with a worker."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from serving.audit.broker import REPORTS, WORK
from serving.audit_worker.__main__ import _parser
from serving.settings import Settings, for_machines
from tests.broker import SERVER
from tests.deploy.test_kubernetes import FOLDER, Objects, check, containers, rendered


def with_component(folder: Path, name: str) -> Objects:
    """The cpu overlay with a component more, each object checked."""
    shutil.copytree(FOLDER, folder / "kubernetes")
    file = folder / "kubernetes" / "overlays" / "cpu" / "kustomization.yaml"
    file.write_text(file.read_text().replace("components:\n", f"components:\n  - ../../components/{name}\n"))
    found = rendered(file.parent)
    for one in found.values():
        check(one)
    return found


def test_the_volume_of_audits_is_shared_by_all_pods_of_the_api_and_by_no_other(tmp_path: Path) -> None:
    found = with_component(tmp_path, "audit-volume")
    assert found["PersistentVolumeClaim", "sieve-audit"]["spec"]["accessModes"] == ["ReadWriteMany"]
    for component, container in containers(found).items():
        spec = found["Deployment", component]["spec"]["template"]["spec"]
        names = [each["name"] for each in spec["volumes"] if "persistentVolumeClaim" in each]
        if component != "sieve":
            assert names == []
            continue
        (name,) = names
        (path,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == name]
        variables = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        assert for_machines(Settings(), variables).audit_folder == path
        assert spec["securityContext"]["fsGroup"] == spec["securityContext"]["runAsGroup"]


def test_the_broker_takes_audits_from_the_api_to_the_worker_and_lets_nobody_else_in(tmp_path: Path) -> None:
    found = with_component(tmp_path, "audit-broker")
    secret = {"secretKeyRef": {"name": "sieve-audit-broker", "key": "url"}}
    urls = {
        component: [each["valueFrom"] for each in container["env"] if each["name"] == "SIEVE_AUDIT_URL"]
        for component, container in containers(found).items()
        if "env" in container
    }
    assert urls == {"sieve": [secret], "audit-worker": [secret], "text-expert": [], "image-expert": []}
    worker = containers(found)["audit-worker"]
    assert worker["image"] == containers(found)["sieve"]["image"]
    parsed = _parser({}).parse_args(worker["args"])
    assert parsed.metrics_port == worker["ports"][0]["containerPort"]
    assert worker["command"] == ["python", "-m", "serving.audit_worker"]
    policy = found["NetworkPolicy", "audit-broker"]["spec"]["ingress"][0]
    assert policy["from"][0]["podSelector"]["matchExpressions"][0]["values"] == ["sieve", "audit-worker"]
    (stateful,) = [one for (kind, _), one in found.items() if kind == "StatefulSet"]
    (server,) = stateful["spec"]["template"]["spec"]["containers"]
    assert [port["port"] for port in policy["ports"]] == [server["ports"][0]["containerPort"]]
    for spec in (stateful["spec"], found["Deployment", "audit-worker"]["spec"]):
        pod = spec["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
    assert stateful["spec"]["volumeClaimTemplates"], "what it has acknowledged outlives its pod"


def test_the_brokers_configuration_is_one_that_the_server_takes(tmp_path: Path) -> None:
    if SERVER is None:
        pytest.skip("no nats-server: apt-get install nats-server")
    file = FOLDER / "components" / "audit-broker" / "nats.conf"
    text = file.read_text().replace("/data", str(tmp_path))
    (tmp_path / "nats.conf").write_text(text)
    line = [SERVER, "-t", "--config", str(tmp_path / "nats.conf")]
    done = subprocess.run(line, env={"NATS_PASSWORD": "secret"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sizes = {name: int(size) for name, size in re.findall(r"max_(file_store|payload): (\d+)MB", text)}
    assert sizes["file_store"] * 1_048_576 > WORK.max_bytes + REPORTS.max_bytes
