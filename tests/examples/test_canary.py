"""examples/canary: what it renders is the canary overlay with another image, valid, beside the stable track."""

from __future__ import annotations

import yaml

from tests.commands import ROOT
from tests.deploy.test_kubernetes import FOLDER, check, containers, rendered
from tests.examples.following import EXAMPLES, lines

CANARY = EXAMPLES / "canary"


def test_it_is_the_canary_overlay_with_the_image_of_the_example() -> None:
    own = yaml.safe_load((CANARY / "kustomization.yaml").read_text(encoding="utf-8"))
    (image,) = own["images"]
    canary, overlay = rendered(CANARY), rendered(FOLDER / "overlays" / "canary")
    assert canary.keys() == overlay.keys()
    for one in canary.values():
        check(one)
    images = {container["image"] for container in containers(canary).values()}
    assert images == {f"{image['newName']}:{image['newTag']}"}
    for (kind, _), one in canary.items():
        if kind == "Deployment":
            assert one["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/version"] == image["newTag"]


def test_it_leaves_the_stable_track_alone() -> None:
    assert not rendered(CANARY).keys() & rendered(FOLDER / "overlays" / "cpu").keys()


def test_its_commands_name_this_folder_and_a_deployment_that_it_makes() -> None:
    deployments = {name for kind, name in rendered(CANARY) if kind == "Deployment"}
    named = [argument for line in lines("canary", "kubectl") for argument in line]
    folders = [argument for argument in named if argument.startswith("examples/")]
    assert len(folders) == 3
    assert all((ROOT / folder).samefile(CANARY) for folder in folders)
    said = {argument.partition("/")[2] for argument in named if argument.startswith("deployment/")}
    assert said
    assert said <= deployments
