"""A cascade that gives label sets: from rows with several labels to the answers of a running service."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from serving.cascade.deferral import OperatingPoint
from serving.http.schemas import ClassificationAnswers, LabelSetAnswer
from serving.model.artifact import Artifact
from serving.model.head import Sigmoid, head_of
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from tests.commands import ROOT, optimize
from tests.optimize.label_sets import PHRASES, RECIPE, messages_of_sets, write_sets
from tests.server import PATIENT_MS, in_full, serve
from tests.tiny import make_bert

LABELS = tuple(sorted(PHRASES))
TEXTS = [text for text, _ in messages_of_sets(24, seed=2)]


@dataclass(frozen=True)
class Cascade:
    """A published cascade: its BentoML home and its build folder."""

    home: Path
    build: Path

    def artifact(self, stage: str) -> Artifact:
        return Artifact.open(self.build / f"tiny-sets-{stage}")

    @property
    def point(self) -> OperatingPoint:
        return OperatingPoint.read(self.build / "tiny-sets-operating-point")

    def answers(self, stage: str) -> list[Any]:
        """What a stage says of TEXTS by itself."""
        artifact, point = self.artifact(stage), self.point
        variant = point.screen_variant if stage == "screen" else point.expert_variant
        temperature = point.screen_temperature if stage == "screen" else point.expert_temperature
        encoder = preprocessor(artifact)
        logits = Runner(Session(artifact, variant), encoder).run([encoder.item(text)[0] for text in TEXTS])
        return head_of(artifact.manifest).answers(logits, LABELS, temperature)


@pytest.fixture(scope="module")
def cascade(tmp_path_factory: pytest.TempPathFactory) -> Cascade:
    folder = tmp_path_factory.mktemp("sets")
    make_bert(folder / "tiny-bert")
    write_sets(folder / "messages.csv", messages_of_sets(600, seed=1))
    (folder / "tiny-sets.toml").write_text(RECIPE)
    made = Cascade(folder / "home", folder / "build")
    optimize("run", folder / "tiny-sets.toml", "--root", folder, "--build", made.build, home=made.home)
    return made


@pytest.fixture(scope="module")
def client(cascade: Cascade, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    log = tmp_path_factory.mktemp("serve") / "log"
    with (
        serve("--arg", "text=tiny-sets", "--arg", "image=", home=cascade.home, folder=ROOT, log=log) as server,
        server.client() as opened,
    ):
        yield opened


def test_both_stages_have_a_threshold_for_each_label_which_the_digest_covers(cascade: Cascade) -> None:
    for stage in ("screen", "expert"):
        manifest = cascade.artifact(stage).manifest
        assert manifest.labels == LABELS
        assert manifest.thresholds is not None
        assert len(manifest.thresholds) == len(LABELS)
        assert any(manifest.thresholds), "they were chosen"
        others = manifest.model_copy(update={"thresholds": tuple(value + 1 for value in manifest.thresholds)})
        assert others.digest != manifest.digest
        assert set(manifest.quality[manifest.default_cpu]) == {"holdout_micro_f1"}


def test_the_report_names_its_measure_and_has_figures_for_each_label(cascade: Cascade) -> None:
    report = json.loads((cascade.build / "report.json").read_text())
    assert report["models"]["teacher"]["micro_f1"] > 0.7
    assert "accuracy" not in report["models"]["cascade"]
    assert report["confusion"] == {}
    assert [row["label"] for row in report["by_label"]] == list(LABELS)
    assert report["data"]["problem"] == "multi-label"
    counted = report["data"]["splits"]["holdout"]
    assert sum(counted["label_counts"].values()) > counted["size"]
    page = (cascade.build / "report.html").read_text()
    assert "micro F1 on the holdout" in page
    assert "Label by label" in page
    for name in ("tiny-sets-screen cpu-fp32", "tiny-sets-operating-point cascade"):
        evidence = report["evidence"][name]["quality"]
        assert {"micro_f1", "macro_f1", "exact_share", "recall"} == set(evidence["answers"])
        assert {"micro_f1_drop", "exact_share_drop"} <= set(evidence["paired"])


def test_a_text_gets_every_label_that_fits(cascade: Cascade, client: httpx.Client) -> None:
    """The served answers are the stages' own; the least sure label of a text decides whether the expert is asked."""
    screen, expert, threshold = cascade.answers("screen"), cascade.answers("expert"), cascade.point.threshold
    body = in_full(client, "/classify_texts", json={"texts": TEXTS, "budget_ms": PATIENT_MS}).json()
    ClassificationAnswers.model_validate(body)
    for answer, ours, theirs in zip(body["answers"], screen, expert, strict=True):
        asked = ours.confidence < threshold
        wanted = theirs if asked else ours
        assert "label" not in answer
        assert answer["labels"] == list(wanted.label)
        assert answer["stage"] == ("expert" if asked else "screen")
        assert answer["confidence"] == pytest.approx(wanted.confidence, abs=1e-4)
        assert list(answer["scores"]) == list(LABELS)
        np.testing.assert_allclose(list(answer["scores"].values()), wanted.scores, atol=1e-4)
    sizes = {len(answer["labels"]) for answer in body["answers"]}
    assert {0, 1, 2} <= sizes
    assert {answer["stage"] for answer in body["answers"]} == {"screen", "expert"}


def test_one_text_has_the_form_that_the_document_says(client: httpx.Client) -> None:
    text = f"{PHRASES['card-declined'][0]} and {PHRASES['fee-question'][0]} hello 7"
    body = in_full(client, "/classify_text", json={"text": text, "budget_ms": PATIENT_MS}).json()
    LabelSetAnswer.model_validate(body)
    assert 0.5 <= body["confidence"] <= 1


def test_the_models_say_from_which_score_on_a_label_is_given(cascade: Cascade, client: httpx.Client) -> None:
    described = client.get("/models").json()["text"]
    point = cascade.point
    for stage, temperature in (("screen", point.screen_temperature), ("expert", point.expert_temperature)):
        head = head_of(cascade.artifact(stage).manifest)
        assert isinstance(head, Sigmoid)
        assert described[stage]["least_scores"] == pytest.approx(head.least_scores(LABELS, temperature))
    assert described["operating_point"]["applies"]


def test_what_was_made_is_verified_again_and_gets_another_operating_point(cascade: Cascade, tmp_path: Path) -> None:
    recipe, build = cascade.build.parent / "tiny-sets.toml", shutil.copytree(cascade.build, tmp_path / "build")
    options = ("--root", recipe.parent, "--build", build)
    optimize("verify", recipe, *options)
    done = optimize("operating-point", recipe, *options, "--alpha", "0.2")
    assert "at most 20.00% of all requests" in done.stdout
    assert json.loads((build / "report.json").read_text())["stale"]
