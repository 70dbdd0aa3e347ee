from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from optimize.build import Build
from optimize.judge.measure import logits_of
from optimize.judge.timing import Latency
from optimize.publish.assemble import assemble, state_quality, write_operating_point
from optimize.recipe import read_recipe
from optimize.results import Precision, Result
from serving.cascade.deferral import OperatingPoint
from serving.model.artifact import Artifact, VariantName, sha256_of
from serving.model.golden import check_golden
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.commands import ROOT, optimize
from tests.points import make_point
from tests.tiny import TinyCascades

CPU_VARIANTS: dict[Precision, VariantName] = {"fp32": "cpu-fp32", "int8": "cpu-int8"}


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_what_a_run_writes(tiny_cascades: TinyCascades, name: str) -> None:
    screen, expert = (Artifact.open(tiny_cascades.artifact(name, role)) for role in ("screen", "expert"))
    point = OperatingPoint.read(tiny_cascades.artifact(name, "operating-point"))
    point.require_pair(screen.digest, expert.digest)
    for artifact in (screen, expert):
        manifest = artifact.manifest
        assert manifest.default_cpu in manifest.variants
        assert {"recipe", "recipe_digest", "checkpoint", "data", "steps"} <= set(manifest.provenance)
        assert {"torch", "onnx", "onnxruntime-gpu", "optimum", "neural-compressor"} <= set(manifest.versions)
        assert set(manifest.quality) == set(manifest.variants)
        verdicts = json.loads((artifact.folder / "evidence" / "verdicts.json").read_text())
        assert {verdict["graph"] for verdict in verdicts} >= {f"{manifest.role}/export"}
        names = {path.relative_to(artifact.folder).as_posix() for path in artifact.folder.rglob("*") if path.is_file()}
        evidence = {f"evidence/{name}.json" for name in ("verdicts", *manifest.variants)}
        assert names == {"manifest.json", *evidence, *manifest.files}
    sizes = [artifact.manifest.variants["cpu-fp32"].size_bytes for artifact in (screen, expert)]
    assert sizes[0] < sizes[1]
    assert not list(tiny_cascades.builds[name].glob("*.partial"))


@pytest.mark.parametrize("name", ["tiny-text", "tiny-image"])
def test_no_graph_says_where_it_was_made(tiny_cascades: TinyCascades, name: str) -> None:
    for path in tiny_cascades.builds[name].rglob("*.onnx"):
        content = path.read_bytes()
        for part in (os.fsencode(ROOT), os.fsencode(tiny_cascades.folder), b"/site-packages/"):
            assert part not in content, f"{path} holds {part!r}"


def test_a_graph_made_in_another_folder_is_the_same(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    """PyTorch's exporter notes where the code lies that it exports."""
    for tree in ("optimize", "serving"):
        shutil.copytree(ROOT / tree, tmp_path / "checkout" / tree, ignore=shutil.ignore_patterns("__pycache__"))
    build = Path(shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build"))
    (graph,) = (build / "screen").glob("quantize-*.onnx")
    before = sha256_of(graph)
    graph.unlink()
    recipe = tiny_recipes["tiny-image"]
    checkout = tmp_path / "checkout"
    arguments = ("quantize", recipe, "--root", recipe.parent, "--build", build)
    done = optimize(*arguments, folder=checkout, fresh=True, PYTHONPATH=str(checkout))
    assert "screen/quantize: made in" in done.stdout
    assert sha256_of(graph) == before


def test_golden_items_do_not_depend_on_which_variant_was_faster(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    recipe = tiny_recipes["tiny-image"]
    folder = shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build")
    build = Build(read_recipe(str(recipe)), root=recipe.parent, folder=folder)
    build.carry_out()
    graphs = build.graphs("screen")
    chosen = {CPU_VARIANTS[graph.precision]: graph for graph in graphs}
    selection = build.prepared("selection")
    logits = {graph.name: logits_of(build, graph, selection) for graph in (*graphs, build.checkpoint_of("screen"))}
    made = []
    for faster in graphs:
        latency = {graph.name: Latency(1 if graph is faster else 2, 1, 2, 5) for graph in graphs}
        made.append(assemble(build, "screen", chosen, [], latency, logits).manifest)
    assert made[0].default_cpu != made[1].default_cpu
    assert made[0].files == made[1].files


def test_stating_the_quality_leaves_the_digest_as_it_is(tiny_cascades: TinyCascades, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_cascades.artifact("tiny-text", "screen"), tmp_path / "screen"))
    artifact = Artifact.open(folder)
    state_quality(artifact, {"cpu-fp32": {"holdout_accuracy": 0.25}})
    again = Artifact.open(folder)
    assert again.manifest.quality == {"cpu-fp32": {"holdout_accuracy": 0.25}}
    assert again.digest == artifact.digest


def test_a_new_operating_point_takes_the_place_of_the_old_one_and_its_evidence(tmp_path: Path) -> None:
    folder = tmp_path / "point"
    (folder / "evidence").mkdir(parents=True)
    (folder / "evidence" / "cascade.json").write_text("{}")
    point = make_point()
    write_operating_point(folder, point)
    assert OperatingPoint.read(folder) == point
    assert [path.name for path in folder.iterdir()] == ["operating-point.json"]


def test_two_runtimes_share_a_graph_and_are_two_variants(
    tiny_cascades: TinyCascades, tiny_recipes: dict[str, Path], tmp_path: Path
) -> None:
    pytest.importorskip("openvino", reason="OpenVINO is not installed: the extra openvino")
    recipe = tmp_path / "recipe.toml"
    both = '[gates]\nruntimes = ["onnxruntime", "openvino"]'
    recipe.write_text(tiny_recipes["tiny-image"].read_text().replace("[gates]", both))
    folder = shutil.copytree(tiny_cascades.builds["tiny-image"], tmp_path / "build")
    build = Build(read_recipe(str(recipe)), root=tiny_recipes["tiny-image"].parent, folder=folder)
    build.carry_out()
    plain, other = build.graphs("expert")
    assert [plain.name, other.name] == ["expert/export", "expert/export-openvino"]
    checkpoint, selection = build.checkpoint_of("expert"), build.prepared("selection")
    logits = {each.name: logits_of(build, each, selection) for each in (plain, other, checkpoint)}
    np.testing.assert_allclose(logits[other.name], logits[plain.name], atol=1e-4)
    latency = {plain.name: Latency(2, 2, 2, 5), other.name: Latency(1, 1, 1, 5)}
    chosen: dict[VariantName, Result] = {"cpu-fp32-openvino": other, "cpu-fp32": plain}
    artifact = assemble(build, "expert", chosen, [], latency, logits)
    variants, machine = artifact.manifest.variants, artifact.manifest.machine
    assert {name: (variant.file, variant.runtime) for name, variant in variants.items()} == {
        "cpu-fp32": ("cpu-fp32/model.onnx", "onnxruntime"),
        "cpu-fp32-openvino": ("cpu-fp32/model.onnx", "openvino"),
    }
    assert not variants["cpu-fp32-openvino"].alone
    assert artifact.manifest.default_cpu == "cpu-fp32-openvino"
    assert machine is not None
    assert machine.openvino is not None
    assert not check_golden(artifact, Runner(Session(artifact), preprocessor(artifact))).against
