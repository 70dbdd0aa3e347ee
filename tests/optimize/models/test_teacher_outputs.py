from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from optimize.data.inputs import Prepared, Preparer
from optimize.data.token_ids import in_memory
from optimize.models.distillation import DistillationConfig, distillation_loss
from optimize.models.teacher_outputs import TeacherOutputs, followed_layers, pooled_states
from optimize.models.training import train
from optimize.steps.distill import Distill, make_student
from serving.model.artifact import ImageSettings, TextSettings
from tests.encoders import SENTENCES, tiny_encoder, tiny_tokeniser
from tests.optimize.conftest import tiny_resnet50

SIZE = 200
CONFIG = DistillationConfig(epochs=1, learning_rate=1e-3)


@pytest.fixture(scope="module")
def teacher() -> Any:
    return tiny_encoder("bert")


@pytest.fixture(scope="module")
def preparer(tmp_path_factory: pytest.TempPathFactory) -> Preparer:
    folder = tmp_path_factory.mktemp("tokeniser")
    tiny_tokeniser("wordpiece").save_pretrained(folder)
    return Preparer(TextSettings(max_tokens=24, pad_token_id=0, inputs=("input_ids", "attention_mask")), folder)


@pytest.fixture(scope="module")
def data(preparer: Preparer) -> Prepared:
    texts = [f"{SENTENCES[i % 50]} {SENTENCES[(7 * i) % 50]}" for i in range(SIZE)]
    items = in_memory(texts, lambda some: [preparer._text.encode(text) for text in some], np.int32)  # type: ignore[union-attr]
    return Prepared("train", items, np.arange(SIZE) % 3, tuple(map(str, range(SIZE))))


def held(teacher: Any, data: Prepared, preparer: Preparer, followed: dict[int, int]) -> TeacherOutputs:
    """The outputs as arrays that were never in a file."""
    outputs = []
    with torch.inference_mode():
        for place in range(len(data)):
            outputs.append(teacher(**preparer.tensors(data.take([place])), output_hidden_states=True))
    states = [torch.cat(layer).numpy()[None] for layer in zip(*map(pooled_states, outputs), strict=True)]
    logits = torch.cat([output.logits for output in outputs]).numpy()[None]
    return TeacherOutputs(logits, {place: states[layer] for place, layer in followed.items()})


def test_outputs_in_files_are_those_in_memory_and_make_the_same_student(
    teacher: Any, data: Prepared, preparer: Preparer, tmp_path: Path
) -> None:
    config = Distill(epochs=1, learning_rate=1e-3, layers=(0, 2))
    followed = followed_layers(teacher, make_student(teacher, config), preparer.tensors(data.take([0])))
    assert followed == {0: 1, 1: 3}
    kept = TeacherOutputs.compute(teacher, data, preparer, config, 1, tmp_path / "kept", followed)
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["hidden-1.npy", "hidden-3.npy", "logits.npy"]
    own = held(teacher, data, preparer, followed)
    np.testing.assert_allclose(kept.logits, own.logits, atol=1e-5)
    for place in followed:
        np.testing.assert_allclose(kept.hidden[place], own.hidden[place], atol=1e-5)
    copied = TeacherOutputs(kept.logits.copy(), {place: state.copy() for place, state in kept.hidden.items()})

    def student_of(outputs: TeacherOutputs) -> dict[str, Any]:
        loss = distillation_loss(outputs, config)
        student = make_student(teacher, config)
        trained = train(student, data, preparer, config, loss=loss, seed=1, title="", hidden_states=True)
        return trained.state_dict()

    one, other = student_of(kept), student_of(copied)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_a_stopped_run_goes_on_after_its_last_batch(
    teacher: Any, data: Prepared, preparer: Preparer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, tmp_path / "whole", {0: 3})
    seen: list[int] = []
    forward, stop_at = type(teacher).forward, [2]

    def counting(self: Any, *args: Any, **keys: Any) -> Any:
        if len(seen) == stop_at[0]:
            raise KeyboardInterrupt
        seen.append(len(keys["input_ids"]))
        return forward(self, *args, **keys)

    monkeypatch.setattr(type(teacher), "forward", counting)
    folder = tmp_path / "kept"
    with pytest.raises(KeyboardInterrupt):
        TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, folder, {0: 3})
    assert json.loads((folder / "progress.json").read_text())["batches"] == 2
    assert not (folder / "logits.npy").exists(), "what has its name is whole"
    stop_at[0] = SIZE
    kept = TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, folder, {0: 3})
    assert sum(seen) == SIZE, "no batch was run again"
    np.testing.assert_array_equal(kept.logits, whole.logits)
    np.testing.assert_array_equal(kept.hidden[0], whole.hidden[0])
    seen.clear()
    TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, folder, {0: 3})
    assert not seen, "read, not computed again"
    stop_at[0] = 1
    with pytest.raises(KeyboardInterrupt):
        TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, folder, {0: 3, 1: 2})
    stop_at[0] = SIZE
    seen.clear()
    TeacherOutputs.compute(teacher, data, preparer, CONFIG, 1, folder, {0: 1})
    assert sum(seen) == SIZE, "what was begun were other layers"


def test_every_view_of_an_image_has_outputs_of_its_own(tmp_path: Path) -> None:
    teacher = tiny_resnet50()
    preparer = Preparer(ImageSettings(width=32, height=32, mode="RGB", mean=[0.5] * 3, std=[0.5] * 3))
    pixels = np.random.default_rng(0).random((70, 3, 32, 32), dtype=np.float32)
    data = Prepared("train", list(pixels), np.arange(70) % 3, ("",) * 70)
    config = DistillationConfig(epochs=2, learning_rate=1e-3, crop=2, views=2)
    kept = TeacherOutputs.compute(teacher, data, preparer, config, 1, tmp_path / "kept", {0: 0})
    assert kept.logits.shape == (2, 70, 3)
    assert kept.hidden[0].shape == (2, 70, 16)
    with torch.inference_mode():
        plain = teacher(pixel_values=torch.from_numpy(pixels)).logits
    np.testing.assert_allclose(kept.logits[0], plain, atol=1e-4)
    assert not np.allclose(kept.logits[0], kept.logits[1], atol=1e-3)


def test_a_layer_of_another_width_is_followed_by_none(teacher: Any, data: Prepared, preparer: Preparer) -> None:
    inputs = preparer.tensors(data.take([0]))
    assert followed_layers(teacher, tiny_encoder("bert", hidden_size=16), inputs) == {}
    assert followed_layers(teacher, teacher, inputs) == {place: place for place in range(4)}
    silent = lambda **_: SimpleNamespace(hidden_states=())  # noqa: E731
    assert followed_layers(silent, teacher, inputs) == {}  # type: ignore[arg-type]  # what a ready graph answers
    deeper = followed_layers(teacher, tiny_encoder("bert", num_hidden_layers=6), inputs)
    assert deeper == {0: 3, 1: 0, 2: 1, 3: 1, 4: 2, 5: 3}
