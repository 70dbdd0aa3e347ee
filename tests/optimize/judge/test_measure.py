from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optimize.build import Build
from optimize.judge import measure as measure_module
from optimize.judge.measure import batches_of, logits_of, measure, served_logits
from optimize.results import STAGES, Result
from serving.load.forecast import step
from serving.model.artifact import Artifact, sha256_of
from serving.model.device import gpu_present
from tests.optimize.conftest import result


def test_real_graphs_are_measured_and_say_what_their_checkpoint_says(build: Build) -> None:
    selection = build.prepared("selection")
    checkpoint, export = build.checkpoint_of("screen"), build.graphs("screen")[0]
    gap = np.abs(logits_of(build, checkpoint, selection) - logits_of(build, export, selection)).max()
    assert gap < 1e-4
    latency = measure(build, [checkpoint, export], lambda _: selection, rounds=7)
    assert set(latency) == {checkpoint.name, export.name}
    for timed in latency.values():
        assert 0 < timed.lower_quartile_ms <= timed.median_ms <= timed.upper_quartile_ms
        assert timed.rounds == 7


def test_an_expert_is_measured_in_batches_too(text_build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    """Together where its answers allow it, else one item at a time, as both are served."""
    ran: list[tuple[str, tuple[int, ...]]] = []

    def noting(path: Path, *_: Any) -> tuple[Any, None]:
        name = path.stem.partition("-")[0]
        return lambda inputs: ran.append((name, inputs["input_ids"].shape)), None

    monkeypatch.setattr(measure_module, "open_graph", noting)
    data = text_build.prepared("selection")
    graphs = [result(text_build, name) for name in ("expert/export", "expert/quantize", "screen/export")]
    latency = measure(text_build, graphs, lambda _: data, rounds=10)
    assert [latency[graph.name].item_ms_at_8 is not None for graph in graphs] == [True, True, False]
    singles, batches = 3 * (10 + 5), ran[3 * (10 + 5) :]
    assert {shape[0] for _, shape in ran[:singles]} == {1}
    assert [name for name, _ in batches[:9]] == ["export"] + ["quantize"] * 8
    (size, longest), *alone = (shape for _, shape in batches[:9])
    assert size == 8
    assert {rows for rows, _ in alone} == {1}
    assert longest == max(length for _, length in alone), "padded to the longest"


def test_the_batches_of_an_expert_have_items_of_like_length(text_build: Build, image_build: Build) -> None:
    data = text_build.prepared("selection")
    batches = batches_of(data, seed=1)
    assert set(batches.flat) == set(range(len(data)))
    steps = [{step(len(data.items[place])) for place in batch} for batch in batches]
    mixed = [each for each in steps if len(each) > 1]
    assert len(mixed) <= len(set.union(*steps)), "at most one between two steps, and the last"
    assert [min(each) for each in steps] != sorted(min(each) for each in steps), "short and long ones in turn"
    assert set(batches_of(image_build.prepared("selection"), seed=1).flat) == set(
        range(len(image_build.splits.selection))
    )


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_graph_for_a_gpu_is_left_out_of_the_measuring_without_one(build: Build) -> None:
    export = build.graphs("screen")[0]
    half = Result("screen", "fuse", export.path, "key", "fp16")
    assert measure(build, [half], partial(build.prepared, "selection"), rounds=2) == {}
    assert logits_of(build, half, build.prepared("selection")).shape[0] == len(build.splits.selection)


def test_served_logits_are_those_that_were_measured(build: Build) -> None:
    for role in STAGES:
        artifact = Artifact.open(build.artifact_folder(role))
        for variant in artifact.manifest.variants:
            (graph,) = [
                g for g in build.graphs(role) if sha256_of(g.path) == artifact.manifest.variants[variant].sha256
            ]
            got = served_logits(artifact, variant, build.splits.certification)
            np.testing.assert_allclose(got, logits_of(build, graph, build.prepared("certification")), atol=1e-4)
