"""deploy/kubernetes: rendered by kubectl's own kustomize, each object against its real schema, and what they must say.

The schemas: Kubernetes' OpenAPI, strict, from kubernetes-validate; KEDA's, from models made of its custom resource
definition (cloudcoil-models-keda).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.keda.v1alpha1 import ScaledObject

from serving.http.access import KEYS_VARIABLE
from serving.http.gate import is_open
from serving.http.priority import VARIABLE
from serving.settings import Settings, for_machines
from tests.conftest import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
KUBERNETES = "1.37"
EXPERTS = ("text-expert", "image-expert")
Objects = dict[tuple[str, str], dict[str, Any]]
KUBECTL = shutil.which("kubectl", path=f"{ROOT / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}")


def rendered(folder: Path) -> Objects:
    """The objects of a Kustomize folder, by kind and name."""
    if KUBECTL is None:
        pytest.skip("no kubectl, whose kustomize renders the manifests: make kubectl")
    done = subprocess.run([KUBECTL, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    objects = {(one["kind"], one["metadata"]["name"]): one for one in found}
    assert len(objects) == len(found)
    return objects


@pytest.fixture(scope="module")
def without_keda(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cpu overlay with the other component in KEDA's place and the scraping one beside it, as its comment says."""
    copy = tmp_path_factory.mktemp("deploy") / "kubernetes"
    shutil.copytree(FOLDER, copy)
    file = copy / "overlays" / "cpu" / "kustomization.yaml"
    components = "../../components/hpa\n  - ../../components/scrape-experts\n#"
    file.write_text(file.read_text().replace("../../components/keda", components))
    return copy / "overlays" / "cpu"


@pytest.fixture(scope="module", params=["cpu", "gpu", "canary", "without-keda"])
def objects(request: pytest.FixtureRequest, without_keda: Path) -> Objects:
    return rendered(without_keda if request.param == "without-keda" else FOLDER / "overlays" / request.param)


def containers(objects: Objects) -> dict[str, dict[str, Any]]:
    """The one container of each Deployment, by its component."""
    found = {}
    for (kind, _), one in objects.items():
        if kind == "Deployment":
            (container,) = one["spec"]["template"]["spec"]["containers"]
            found[one["metadata"]["labels"]["app.kubernetes.io/component"]] = container
    return found


def differences(given: Any, kept: Any, path: str = "") -> list[str]:
    """Where `kept` lacks something that was `given`."""
    if isinstance(given, dict):
        return [d for key, value in given.items() for d in differences(value, (kept or {}).get(key), f"{path}.{key}")]
    if isinstance(given, list):
        pairs = zip(given, kept or [None] * len(given), strict=True)
        return [d for n, (one, other) in enumerate(pairs) for d in differences(one, other, f"{path}[{n}]")]
    return [] if given == kept else [f"{path}: {given!r} became {kept!r}"]


def check(one: dict[str, Any]) -> None:
    """Raise when an object is not what its schema says."""
    if one["apiVersion"].startswith("keda.sh/"):
        kept = ScaledObject.model_validate(one).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert not differences(one, kept), "fields that KEDA does not know"
    else:
        kubernetes_validate.validate(one, KUBERNETES, strict=True)


def test_every_object_is_what_its_schema_says(objects: Objects) -> None:
    for one in objects.values():
        check(one)


def test_the_check_finds_mistakes() -> None:
    objects = rendered(FOLDER / "overlays" / "cpu")
    deployment, scaled = objects["Deployment", "sieve"], objects["ScaledObject", "sieve"]
    deployment["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        check(deployment)
    scaled["spec"]["maxReplicas"] = 5
    with pytest.raises((ValueError, AssertionError)):
        check(scaled)
    del scaled["spec"]["maxReplicas"]
    scaled["spec"]["triggers"][0]["metadata"]["threshold"] = {}
    with pytest.raises(ValueError, match="threshold"):
        check(scaled)


def test_three_deployments_of_one_image_with_the_models_version_as_tag_and_label(objects: Objects) -> None:
    assert set(containers(objects)) == {"sieve", *EXPERTS}
    assert len({container["image"] for container in containers(objects).values()}) == 1
    for (kind, _), one in objects.items():
        if kind == "Deployment":
            version = one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"]
            assert containers(objects)["sieve"]["image"].endswith(f":{version}")
            assert "app.kubernetes.io/version" not in one["spec"]["selector"]["matchLabels"], "selectors cannot change"


def test_probes_resources_and_a_stop_that_loses_nothing(objects: Objects) -> None:
    for container in containers(objects).values():
        assert container["readinessProbe"]["httpGet"] == container["startupProbe"]["httpGet"]
        assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
        assert {"cpu", "memory"} <= set(container["resources"]["requests"])
        assert "memory" in container["resources"]["limits"]
    for (kind, name), one in objects.items():
        if kind != "Deployment":
            continue
        spec = one["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        assert one["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
        (sleep_s,) = re.findall(r"sleep (\d+)", container["lifecycle"]["preStop"]["exec"]["command"][-1])
        variables = {variable["name"]: variable["value"] for variable in container["env"]}
        assert f"touch {variables['SIEVE_DRAIN_FILE']} " in container["lifecycle"]["preStop"]["exec"]["command"][-1]
        # Until it is seen that a pod is not ready, and then the longest request.
        probe = container["readinessProbe"]
        assert int(sleep_s) > probe["periodSeconds"] * probe["failureThreshold"] + probe["timeoutSeconds"]
        assert spec["terminationGracePeriodSeconds"] > int(sleep_s) + 10
        budget = objects["PodDisruptionBudget", name]["spec"]
        assert budget["maxUnavailable"] == 1
        assert budget["selector"]["matchLabels"] == one["spec"]["selector"]["matchLabels"]


def test_nobody_is_root_and_nothing_is_written_but_tmp(objects: Objects) -> None:
    for (kind, _), one in objects.items():
        if kind != "Deployment":
            continue
        spec = one["spec"]["template"]["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 1034, "the image names its user, which Kubernetes cannot check"
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        (container,) = spec["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        written = [each for each in container["volumeMounts"] if not each.get("readOnly")]
        assert written == [{"name": "tmp", "mountPath": "/tmp"}]
        assert "emptyDir" in spec["volumes"][0]


def test_the_api_starts_with_keys_from_a_secret_alone_and_its_probes_need_none(objects: Objects) -> None:
    for (kind, _), one in objects.items():
        if kind != "Deployment":
            continue
        spec = one["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        files = [each["value"] for each in container["env"] if each["name"] == KEYS_VARIABLE]
        if one["metadata"]["labels"]["app.kubernetes.io/component"] != "sieve":
            assert files == [], "who may ask an expert, its network policy says"
            continue
        (volume,) = [each for each in spec["volumes"] if "secret" in each]
        assert volume["secret"] == {"secretName": "sieve-api-keys"}, "without it no container is started"
        (mount,) = [each for each in container["volumeMounts"] if each["name"] == volume["name"]]
        assert mount["readOnly"] is True
        assert files == [f"{mount['mountPath']}/keys.toml"]
        assert "subPath" not in mount, "such a file does not change with the Secret"
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert is_open(container[probe]["httpGet"]["path"])


def test_only_the_api_of_the_same_track_reaches_an_expert(objects: Objects) -> None:
    for name in [name for kind, name in objects if kind == "Deployment" and "expert" in name]:
        pods = objects["Deployment", name]["spec"]["template"]["metadata"]["labels"]
        policies = [
            one["spec"]
            for (kind, who), one in objects.items()
            if kind == "NetworkPolicy" and who != "scrape-experts" and selects(one["spec"]["podSelector"], pods)
        ]
        (policy,) = policies
        assert policy["policyTypes"] == ["Ingress"]
        ((allowed,), ports) = policy["ingress"][0]["from"], policy["ingress"][0]["ports"]
        assert [port["port"] for port in ports] == [3000]
        for (kind, who), one in objects.items():
            if kind == "Deployment":
                labels = one["spec"]["template"]["metadata"]["labels"]
                assert selects(allowed["podSelector"], labels) == ("expert" not in who)
        other = {**pods, "app.kubernetes.io/component": "sieve", "sieve/track": "another"}
        assert not selects(allowed["podSelector"], other)


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) == {"matchLabels"}
    return selector["matchLabels"].items() <= labels.items()


def test_the_api_asks_the_experts_of_its_track(objects: Objects) -> None:
    api = containers(objects)["sieve"]
    variables = {variable["name"]: variable["value"] for variable in api["env"]}
    assert for_machines(Settings(), variables).calls_in_flight == 2
    for component in EXPERTS:
        url = variables[f"SIEVE_{component.replace('-', '_').upper()}_URL"]
        name = re.fullmatch(r"http://([a-z-]+):3000", url)
        assert name is not None
        service = objects["Service", name[1]]["spec"]
        assert service["clusterIP"] == "None"
        pods = objects["Deployment", name[1]]["spec"]["template"]["metadata"]["labels"]
        assert service["selector"].items() <= pods.items()
        # The words of BentoML's entry point for one service of a Bento, by the name that service.py gives it.
        name_of_service = containers(objects)[component]["args"][2]
        given = re.search(r"^(.*) = map\(expert_service, KINDS\)$", (ROOT / "service.py").read_text(), re.MULTILINE)
        assert given is not None
        assert name_of_service in given[1].split(", ")


def test_the_priority_component_ties_priority_to_a_header_from_a_secret(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    file = tmp_path / "kubernetes" / "overlays" / "cpu" / "kustomization.yaml"
    file.write_text(file.read_text().replace("components:\n", "components:\n  - ../../components/priority\n"))
    found = rendered(file.parent)
    for one in found.values():
        check(one)
    stated = {
        component: [variable for variable in container["env"] if variable["name"] == VARIABLE]
        for component, container in containers(found).items()
    }
    secret = {"secretKeyRef": {"name": "sieve-priority", "key": "header"}}
    assert stated == {"sieve": [{"name": VARIABLE, "valueFrom": secret}], "text-expert": [], "image-expert": []}


def test_experts_run_on_gpu_nodes() -> None:
    for (kind, name), one in rendered(FOLDER / "overlays" / "gpu").items():
        if kind == "Deployment":
            spec = one["spec"]["template"]["spec"]
            limits = spec["containers"][0]["resources"]["limits"]
            assert (limits.get("nvidia.com/gpu") == 1) == (name in EXPERTS)
            assert ("nodeSelector" in spec) == (name in EXPERTS)
            variables = {variable["name"]: variable["value"] for variable in spec["containers"][0]["env"]}
            assert for_machines(Settings(), variables).device == ("gpu" if name in EXPERTS else "auto")


def test_the_canary_stands_beside_the_stable_track_behind_its_service() -> None:
    stable, canary = rendered(FOLDER / "overlays" / "cpu"), rendered(FOLDER / "overlays" / "canary")
    assert not set(stable) & set(canary), "none is overwritten, and deleting it deletes nothing else"
    front = stable["Service", "sieve"]["spec"]["selector"]
    for objects, name in ((stable, "sieve"), (canary, "sieve-canary")):
        pods = objects["Deployment", name]["spec"]["template"]["metadata"]["labels"]
        assert front.items() <= pods.items()
    for name in ("sieve", *EXPERTS):
        theirs = canary["Deployment", f"{name}-canary"]["spec"]["template"]["metadata"]["labels"]
        assert not stable["Deployment", name]["spec"]["selector"]["matchLabels"].items() <= theirs.items()
        if name != "sieve":
            assert not stable["Service", name]["spec"]["selector"].items() <= theirs.items()


def test_scaling_goes_by_work_and_deadlines_or_without_keda_by_the_cpu(without_keda: Path) -> None:
    with_keda = rendered(FOLDER / "overlays" / "cpu")
    scaled = {name: one["spec"] for (kind, name), one in with_keda.items() if kind == "ScaledObject"}
    assert set(scaled) == {"sieve", *EXPERTS}
    triggers = {name: [trigger["name"] for trigger in spec["triggers"]] for name, spec in scaled.items()}
    assert triggers == {"sieve": ["work", "late"], **{name: ["work", "deadline"] for name in EXPERTS}}
    for name in scaled:
        assert scaled[name]["scaleTargetRef"]["name"] == name
    for name in EXPERTS:
        modality = name.removesuffix("-expert")
        assert all(f'modality="{modality}"' in trigger["metadata"]["query"] for trigger in scaled[name]["triggers"])
    # The queries count what the experts' own metrics say, so Prometheus must reach them.
    assert ("NetworkPolicy", "scrape-experts") in with_keda
    found = rendered(without_keda)
    assert not any(kind == "ScaledObject" for kind, _ in found)
    for name in ("sieve", *EXPERTS):
        assert found["HorizontalPodAutoscaler", name]["spec"]["scaleTargetRef"]["name"] == name
