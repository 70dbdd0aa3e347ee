"""A student of another family: its own tokeniser from the first step to the answer, beside a teacher with another."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from optimize.build import Build
from optimize.errors import CheckpointError, StepError
from optimize.judge.search import search
from optimize.own_student import own_student
from optimize.pipeline import evaluate, verify_again
from optimize.profiling.pytorch import checkpoints
from optimize.recipe import Recipe, read_recipe
from optimize.results import Stage
from serving.cascade.deferral import OperatingPoint
from serving.cascade.modality import Modality, StoredCascade, StoredModel, StoredPoint
from serving.expert.call import Ran
from serving.load.budget import MAX_MS, Budget
from serving.model.artifact import Artifact, TextSettings
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.settings import Settings
from serving.timings import Timings
from tests.encoders import POSITIONS, saved_encoder
from tests.optimize.knowing import EASY_GATES, LABELS, knowing_bert, write_rows
from tests.optimize.models.resnets import resnet_state

RECIPE = """
name = "two-families"
task = "text"
checkpoint = { source = "folder", path = "bert" }
data = { source = "files", train = "rows.csv", calibration_size = 8 }
text = { max_tokens = 48 }
expert = [{ step = "export" }]

[[screen]]
step = "distill"
student = { source = "folder", path = "roberta" }
layers = [0, 3]
epochs = 12
learning_rate = 1e-2
batch_size = 16
control = false

[[screen]]
step = "prune"
heads_share = 0.5
epochs = 1
learning_rate = 1e-3

[[screen]]
step = "export"
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT that knows the labels of 160 texts, a RoBERTa with two labels of its own, and a recipe for both."""
    folder = tmp_path_factory.mktemp("two-families")
    write_rows(folder / "rows.csv", knowing_bert(folder / "bert", rows=160))
    saved_encoder("roberta", folder / "roberta", num_labels=2)
    (folder / "recipe.toml").write_text(RECIPE + EASY_GATES)
    return folder


def opened(root: Path, folder: Path, *, old: str = "", new: str = "") -> Build:
    recipe = folder.with_suffix(".toml")
    recipe.write_text((root / "recipe.toml").read_text().replace(old, new, 1))
    return Build(read_recipe(str(recipe)), root=root, folder=folder)


@pytest.fixture(scope="module")
def made(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Build:
    build = opened(root, tmp_path_factory.mktemp("made") / "build")
    evaluate(build, "a test")
    return build


def artifact(build: Build, stage: Stage) -> Artifact:
    return Artifact.open(build.artifact_folder(stage))


@torch.inference_mode()
def logits_of(checkpoint: Path, texts: Sequence[str], max_tokens: int) -> Any:
    """What transformers makes of the texts, with the tokeniser that lies beside the weights."""
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    cut = {"truncation": True, "max_length": max_tokens, "return_tensors": "pt"}
    return np.concatenate([model(**tokenizer(text, **cut)).logits.numpy() for text in texts])


def test_each_stage_is_published_with_its_own_tokeniser(root: Path, made: Build) -> None:
    screen, expert = artifact(made, "screen"), artifact(made, "expert")
    for stage, brought in ((screen, "roberta"), (expert, "bert")):
        files = (folder / "tokenizer.json" for folder in (stage.folder, root / brought))
        ours, theirs = (json.loads(file.read_text())["model"]["vocab"] for file in files)
        assert ours == theirs
    assert isinstance(screen.manifest.settings, TextSettings)
    assert isinstance(expert.manifest.settings, TextSettings)
    assert screen.manifest.settings.model_dump(include={"max_tokens", "pad_token_id", "inputs"}) == {
        "max_tokens": POSITIONS,
        "pad_token_id": 1,
        "inputs": ("input_ids", "attention_mask"),
    }
    assert (expert.manifest.settings.max_tokens, expert.manifest.settings.pad_token_id) == (48, 0)
    assert screen.manifest.labels == expert.manifest.labels == tuple(sorted(LABELS))


class Expert:
    """The expert's artifact in this process."""

    def __init__(self, opened: Artifact) -> None:
        self.runner = Runner(Session(opened), preprocessor(opened))

    async def __call__(self, items: Sequence[Any], *_: Any) -> Ran:
        return Ran(self.runner.run(items), 0.1)

    async def describe(self) -> Mapping[str, str]:
        return {"variant": self.runner.session.variant}

    async def close(self) -> None:
        """There is nothing to close."""


def test_what_is_served_is_what_transformers_says_with_each_ones_tokeniser(made: Build) -> None:
    screen, expert = artifact(made, "screen"), artifact(made, "expert")
    holdout = made.splits.holdout
    texts = list(holdout.inputs)
    student = logits_of(made.checkpoint_of("screen").path, texts, POSITIONS)
    teacher = logits_of(made.teacher.path, texts, 48)
    point = OperatingPoint.read(made.point_folder)
    confidences = torch.tensor(student / point.screen_temperature).softmax(1).amax(1).numpy()
    threshold = float(np.median(confidences))
    stored = StoredCascade(
        screen=StoredModel(screen, "screen:1"),
        expert=StoredModel(expert, "expert:1"),
        point=StoredPoint(point.model_copy(update={"threshold": threshold}), "point:1"),
    )

    async def answers() -> list[Any]:
        modality = Modality(stored, Expert(expert), Settings(), tell_drift=lambda _: None)
        assert not modality.golden.against
        items = [modality.prepare(text) for text in texts]
        budget = Budget(time.monotonic(), MAX_MS)
        ours, theirs = ([item.screen for item in items], [item.expert for item in items])
        assert any(len(one) != len(other) for one, other in zip(ours, theirs, strict=True))
        return await modality.cascade.classify(ours, theirs, budget, Timings())

    given = asyncio.run(answers())
    stages = [answer.stage for answer in given]
    assert 0 < stages.count("expert") < len(texts)
    labels = screen.manifest.labels
    for answer, ours, theirs in zip(given, student, teacher, strict=True):
        logits = ours if answer.stage == "screen" else theirs
        assert answer.answer.label == labels[logits.argmax()]
    evidence = json.loads((screen.folder / "evidence" / "cpu-fp32.json").read_text())
    assert evidence["quality"]["answers"]["accuracy"] == pytest.approx((student.argmax(1) == holdout.targets).mean())


def test_the_student_learned_what_the_teacher_says_of_the_same_texts(made: Build) -> None:
    (distilled,) = [result for result in made.results if result.name == "screen/distill"]
    train = made.splits.train
    agrees = logits_of(distilled.path, train.inputs, POSITIONS).argmax(1) == train.targets
    assert agrees.mean() > 0.8, "it knows by heart what was asked of it"


def test_the_same_pair_is_verified_again(made: Build, capsys: pytest.CaptureFixture[str]) -> None:
    again = Build(made.recipe, root=made.root, folder=made.folder)
    verify_again(again, "a test")
    said = " ".join(capsys.readouterr().out.split())
    assert "made in" not in said
    assert f"the student knows {POSITIONS} positions, so it reads {POSITIONS} tokens of a text where the" in said


def test_only_a_checkpoint_that_reads_the_same_tokens_is_profiled_beside_a_stage(made: Build) -> None:
    assert [*checkpoints(artifact(made, "screen"), made.folder)] == ["screen/prune"]
    assert [*checkpoints(artifact(made, "expert"), made.folder)] == ["teacher/checkpoint"]


@pytest.mark.parametrize(
    ("old", "new", "error", "says"),
    [
        ("layers = [0, 3]", "layers = [0, 4]", StepError, r"must lie in 0..3, the layers of the student's checkpoint"),
        ("layers = [0, 3]", "frozen_layers = 5", StepError, "got 5 for a model with 4; freeze fewer"),
        ('"roberta"', '"robert"', CheckpointError, r"robert: there is no such file or folder"),
    ],
)
def test_a_student_that_cannot_work_is_refused_before_the_teacher_is_there(
    root: Path, tmp_path: Path, old: str, new: str, error: type[Exception], says: str
) -> None:
    build = opened(root, tmp_path / "build", old=old, new=new)
    with pytest.raises(error, match=says):
        build.carry_out()
    assert not list((tmp_path / "build" / "teacher").iterdir())


def test_a_student_is_taken_in_once_and_its_files_are_part_of_the_key(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "root")
    build = opened(tmp_path / "root", tmp_path / "build")
    source = build.recipe.screen[0].starts_from
    assert source is not None

    def taken() -> Path:
        return own_student(source, build.recipe, LABELS, None, root=build.root, keep=build.folder.joinpath)

    def keys() -> list[str]:
        short = opened(tmp_path / "root", tmp_path / "build", old="epochs = 12", new="epochs = 1")
        return [result.key for result in short.carry_out("distill")]

    first, before = taken(), keys()
    written = (first / "model.safetensors").stat().st_mtime_ns
    assert json.loads((first / "config.json").read_text())["id2label"] == {"0": "bill", "1": "card", "2": "loan"}
    assert taken() == first
    assert (first / "model.safetensors").stat().st_mtime_ns == written
    (tmp_path / "root" / "roberta" / "README.md").write_text("another file in the same folder")
    assert taken() != first
    after = keys()
    assert [old == new for old, new in zip(before, after, strict=True)] == [True, False], "the teacher, the student"


def image_build(folder: Path, student: Any, *, channels: int = 3) -> Build:
    """A ResNet of torchvision's layout as the teacher of a wider one with five labels."""
    torch.save(resnet_state(), folder / "resnet18.pth")
    torch.save(resnet_state(width=4, depths=(2, 1, 1, 1), labels=5, channels=channels, seed=1), folder / "small.pth")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 16, 16, 3), dtype=np.uint8)
    np.savez(folder / "data.npz", train_x=pixels, train_y=np.arange(40) % 3)
    distill = {"step": "distill", "student": student, "epochs": 1, "learning_rate": 1e-3, "control": False}
    described = {
        "name": "photos",
        "task": "image",
        "checkpoint": {"source": "state-dict", "path": "resnet18.pth"},
        "data": {"source": "npz", "path": "data.npz", "holdout_keys": [], "classes_key": "", "calibration_size": 4},
        "image": {"width": 16, "height": 16, "mean": [0.5] * 3, "std": [0.25] * 3},
        "expert": [{"step": "export"}],
        "screen": [distill, {"step": "export"}],
    }
    return Build(Recipe.model_validate(described), root=folder, folder=folder / "build")


@pytest.mark.parametrize("student", ["small.pth", {"source": "state-dict", "path": "small.pth"}])
def test_images_are_prepared_alike_for_a_student_of_its_own(
    tmp_path: Path, student: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    build = image_build(tmp_path, student)
    build.carry_out()
    assert "student: image: [image] differs from torchvision's published settings" in capsys.readouterr().out
    graph = build.graphs("screen")[0]
    assert build.preparer_of(graph).settings == build.preparer.settings
    config = json.loads((build.checkpoint_of("screen").path / "config.json").read_text())
    assert (config["depths"], len(config["id2label"])) == ([2, 1, 1, 1], 3)


def test_a_student_for_other_channels_is_refused(tmp_path: Path) -> None:
    build = image_build(tmp_path, {"source": "state-dict", "path": "small.pth"}, channels=1)
    with pytest.raises(CheckpointError, match="takes images of 1 channel, and those of mode RGB have 3"):
        build.carry_out()


def test_a_search_tries_students_of_several_families(root: Path, tmp_path: Path) -> None:
    saved_encoder("distilbert", root / "distilbert")
    tables = [f'{{ source = "folder", path = "{name}" }}' for name in ("roberta", "distilbert")]
    space = f'"distill.student" = [{", ".join(tables)}]\n"prune.heads_share" = [0.0]\n'
    path = tmp_path / "searched.toml"
    path.write_text(RECIPE.replace("epochs = 12", "epochs = 1") + f"[search.space]\n{space}")
    _, trials, _ = search(Build(read_recipe(str(path)), root=root, folder=tmp_path / "build"))
    assert [trial.choices["distill.student"]["path"] for trial in trials] == ["roberta", "distilbert"]
    assert len({trial.size_bytes for trial in trials}) == 2, "graphs of two families"
