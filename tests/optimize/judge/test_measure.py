from __future__ import annotations

import numpy as np
import pytest

from optimize.build import Build
from optimize.judge.measure import logits_of, measure, served_logits
from optimize.results import STAGES, Result
from serving.model.artifact import Artifact, sha256_of
from serving.model.session import gpu_present


def test_real_graphs_are_measured_and_say_what_their_checkpoint_says(build: Build) -> None:
    selection = build.prepared("selection")
    checkpoint, export = build.checkpoint_of("screen"), build.graphs("screen")[0]
    gap = np.abs(logits_of(build, checkpoint, selection) - logits_of(build, export, selection)).max()
    assert gap < 1e-4
    latency = measure(build, [checkpoint, export], selection, rounds=7)
    assert set(latency) == {checkpoint.name, export.name}
    for timed in latency.values():
        assert 0 < timed.lower_quartile_ms <= timed.median_ms <= timed.upper_quartile_ms
        assert timed.rounds == 7


@pytest.mark.skipif(gpu_present(), reason="this machine has a GPU")
def test_a_graph_for_a_gpu_is_left_out_of_the_measuring_without_one(build: Build) -> None:
    export = build.graphs("screen")[0]
    half = Result("screen", "fuse", export.path, "key", "fp16")
    assert measure(build, [half], build.prepared("selection"), rounds=2) == {}
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
