"""Every family of text encoders through every step, on tiny real models: what is served says what PyTorch says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from optimize.data.inputs import Prepared, Preparer
from optimize.data.splits import Split
from optimize.errors import StepError
from optimize.judge.integers import exact_logits
from optimize.models.attention_heads import attention_output, head_size
from optimize.models.calibration import calibrated, pre_processed
from optimize.models.checkpoint import FolderCheckpoint, fetch_model
from optimize.models.distillation import TeacherOutputs, divergence_of_shares, pooled_states
from optimize.models.families import FAMILIES, graph_inputs, layers_of, positions, require_freezable
from optimize.models.graphs import products_of_activations
from optimize.models.layers import feed_forward_of
from optimize.models.saved import load_model, load_tokenizer, save_model
from optimize.models.training import loss_on_labels, predict
from optimize.steps.distill import Distill, distill, make_student
from optimize.steps.export import Export, export
from optimize.steps.fuse import Fuse, fuse
from optimize.steps.prune import Prune, prune
from optimize.steps.quantize import quantize_dynamic
from serving.model.artifact import TextSettings
from serving.model.open_session import open_session
from serving.model.pairs import PairEncoder
from serving.model.text import TextPair
from tests.encoders import ENCODERS, LABELS, POSITIONS, SENTENCES, saved_encoder, tiny_encoder
from tests.optimize.conftest import torch_logits

TRAINING: dict[str, Any] = {"epochs": 1, "learning_rate": 1e-3, "batch_size": 16}
ROWS = [next(kind for kind in FAMILIES if FAMILIES[kind] is family) for family in dict.fromkeys(FAMILIES.values())]
"""One family of each entry of the table."""
PAIRS = [TextPair(*SENTENCES[2:4]), TextPair(SENTENCES[9], " ".join(SENTENCES[:9])), TextPair(*SENTENCES[5:7])]


@dataclass
class Taken:
    """A family's checkpoint as it was taken in, with serving's preprocessing and 32 prepared texts."""

    kind: str
    folder: Path
    model: Any
    preparer: Preparer
    data: Prepared

    @cached_property
    def batch(self) -> dict[str, Any]:
        """Texts of unequal length; the last one is cut."""
        return self.preparer.collate(self.data.items[-4:])

    @cached_property
    def pairs(self) -> dict[str, Any]:
        """Pairs of texts of unequal length; one is cut."""
        encoder = PairEncoder(self.preparer.settings.model_copy(update={"pairs": True}), self.folder)
        return encoder.collate(encoder.encode_batch(PAIRS))


def take(kind: str, folder: Path) -> Taken:
    source = FolderCheckpoint(source="folder", path=saved_encoder(kind, folder / "brought"))
    model, tokeniser = fetch_model(source, "text", LABELS, Path(), fresh_head=False)
    saved = save_model(model, folder / "teacher", tokeniser)
    settings = TextSettings(
        max_tokens=positions(model.config), pad_token_id=model.config.pad_token_id, inputs=graph_inputs(model.config)
    )
    texts = np.array([*SENTENCES[:31], " ".join(SENTENCES[:9])], dtype=object)
    preparer = Preparer(settings, saved)
    split = Split("train", texts, np.arange(32) % 3, tuple(map(str, range(32))), frozenset())
    return Taken(kind, saved, model.eval(), preparer, preparer.prepare(split))


@pytest.fixture(scope="module", params=ENCODERS)
def taken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Taken:
    return take(request.param, tmp_path_factory.mktemp(request.param))


def smaller(taken: Taken, folder: Path) -> Any:
    """Two of the four layers, with half their heads and feed-forward units, loaded again."""
    student = taken.model
    if not FAMILIES[taken.kind].shared_layers:
        student = make_student(taken.model, Distill(**TRAINING, layers=chosen(taken.kind)))
    config = Prune(**TRAINING, heads_share=0.5, feed_forward_share=0.5, importance_size=16)
    pruned = prune(student, config, data=taken.data, preparer=taken.preparer, seed=0)
    for layer in layers_of(pruned):
        assert attention_output(pruned, layer).in_features == 2 * head_size(pruned.config)
        assert {second.in_features for _, second in feed_forward_of(pruned, layer)} == {32}
    return load_model(save_model(pruned, folder), "text")


def chosen(kind: str) -> tuple[int, ...]:
    return (0, 2) if kind == "modernbert" else (1, 3)


def gap(graph: Path, taken: Taken, wanted: Any) -> float:
    session = open_session(graph, "CPUExecutionProvider", threads=1)
    return float(np.abs(session.run(["logits"], taken.batch)[0] - wanted).max())


def test_the_checkpoint_answers_as_it_was_saved(taken: Taken) -> None:
    before = load_model(taken.folder.with_name("brought"), "text")
    np.testing.assert_array_equal(torch_logits(taken.model, taken.batch), torch_logits(before, taken.batch))
    assert (taken.folder / "tokenizer.json").is_file()
    assert positions(taken.model.config) == POSITIONS == max(map(len, taken.data.items))


def test_a_hidden_state_for_each_layer_from_the_first_token(taken: Taken) -> None:
    output = taken.model(**taken.preparer.tensors(taken.data.items[:2]), output_hidden_states=True)
    states = pooled_states(output)
    assert [tuple(state.shape) for state in states] == [(2, 32)] * 4
    np.testing.assert_array_equal(states[0].detach(), output.hidden_states[1][:, 0].detach())


@pytest.mark.parametrize("taken", ROWS, indirect=True)
def test_a_student_of_its_own_comes_closer_to_soft_targets_alone(taken: Taken, tmp_path: Path) -> None:
    wanted = np.tile(np.array([2, 0, -2], dtype=np.float32), (1, len(taken.data), 1))
    own = {"student": {"source": "folder", "path": taken.folder}, "soft_weight": 1.0, "learning_rate": 1e-2}
    config = Distill(**{**TRAINING, **own, "epochs": 2})
    student, data, preparer = make_student(load_model(taken.folder, "text"), config), taken.data, taken.preparer
    training = {"data": data, "preparer": preparer, "seed": 0, "resume": tmp_path / "training.pt"}

    def far() -> float:
        return float(divergence_of_shares(*map(torch.tensor, (predict(student, data, preparer), wanted[0]))))

    before = far()
    distill(student, config, teacher_outputs=TeacherOutputs(wanted, ()), **training)
    assert far() < 0.9 * before


@pytest.mark.parametrize("taken", [kind for kind in ENCODERS if kind not in ROWS], indirect=True)
def test_the_plain_graph_says_what_pytorch_says(taken: Taken, tmp_path: Path) -> None:
    graph = export(taken.model, Export(), tmp_path / "graph.onnx")
    assert gap(graph, taken, torch_logits(taken.model, taken.batch)) < 1e-3


@pytest.mark.parametrize("taken", ROWS, indirect=True)
def test_every_graph_says_what_pytorch_says(taken: Taken, tmp_path: Path) -> None:
    model = smaller(taken, tmp_path / "smaller")
    wanted = torch_logits(model, taken.batch)
    spread = float(wanted.std())
    plain = export(model, Export(), tmp_path / "plain.onnx")
    assert {node.name for node in onnx.load(plain).graph.input} == set(taken.preparer.settings.inputs)
    assert gap(plain, taken, wanted) < 1e-3
    both = taken.pairs
    ran = open_session(plain, "CPUExecutionProvider", threads=1).run(["logits"], both)[0]
    np.testing.assert_allclose(ran, torch_logits(model, both), atol=1e-3)
    assert gap(fuse(plain, model.config, Fuse(), tmp_path / "fused.onnx"), taken, wanted) < 1e-3
    dynamic = quantize_dynamic(plain, tmp_path / "dynamic.onnx")
    assert gap(dynamic, taken, wanted) < 0.5 * spread
    ran = open_session(dynamic, "CPUExecutionProvider", threads=1).run(["logits"], taken.batch)[0]
    np.testing.assert_allclose(exact_logits(onnx.load(dynamic), taken.batch), ran, atol=1e-5)
    left = [node for node in onnx.load(dynamic).graph.node if node.op_type == "MatMul"]
    assert len(left) == len(products_of_activations(onnx.load(plain))), "a weight stayed in float"
    texts = [taken.preparer.collate([item]) for item in taken.data.items[:8]]
    ready = pre_processed(plain, tmp_path / "ready.onnx")
    assert gap(calibrated(ready, tmp_path / "static.onnx", "min-max", texts), taken, wanted) < 0.5 * spread


def test_pairs_are_what_transformers_makes_of_them(taken: Taken) -> None:
    first, second = zip(*PAIRS, strict=True)
    cut = {"truncation": True, "max_length": POSITIONS, "padding": True, "return_tensors": "np"}
    theirs = load_tokenizer(taken.folder)(first, second, **cut)
    for name, array in taken.pairs.items():
        np.testing.assert_array_equal(array, theirs[name])


@pytest.mark.parametrize("kind", ROWS)
def test_a_head_for_several_labels_learns_from_label_sets(kind: str, tmp_path: Path) -> None:
    saved_encoder(kind, tmp_path / "model", problem_type="multi_label_classification")
    config = FolderCheckpoint(source="folder", path=tmp_path / "model")
    model, _ = fetch_model(config, "text", LABELS, Path(), fresh_head=False, multi_label=True)
    ids = torch.arange(8).reshape(2, 4)
    sets = torch.tensor([[True, False, True], [False, False, False]])
    torch.autograd.backward(loss_on_labels(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, sets))
    gradient = model.get_input_embeddings().weight.grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0


@pytest.mark.slow
@pytest.mark.parametrize("taken", ROWS, indirect=True)
def test_the_graph_for_a_gpu_says_what_pytorch_says(taken: Taken, tmp_path: Path) -> None:
    wanted = torch_logits(taken.model, taken.batch)
    plain = export(taken.model, Export(), tmp_path / "plain.onnx")
    half = fuse(plain, taken.model.config, Fuse(precision="fp16"), tmp_path / "fused.onnx")
    assert gap(half, taken, wanted) < 0.05 * float(wanted.std())


def test_a_bert_with_one_token_type_has_no_input_for_it(tmp_path: Path) -> None:
    model = tiny_encoder("bert", type_vocab_size=1)
    assert graph_inputs(model.config) == ("input_ids", "attention_mask")
    graph = onnx.load(export(model, Export(), tmp_path / "graph.onnx")).graph
    assert [node.name for node in graph.input] == ["input_ids", "attention_mask"]


@pytest.mark.parametrize(
    ("layers", "every"),
    [((0, 2), 1), ((0, 1, 2), 2), ((0, 1, 3, 2), 3), ((0, 1, 2, 2), None), ((1, 2), None), ((0, 0), None)],
)
def test_a_layer_of_modernbert_keeps_its_reach(layers: tuple[int, ...], every: int | None) -> None:
    teacher = tiny_encoder("modernbert")
    config = Distill(epochs=1, learning_rate=1e-3, layers=layers)
    if every is None:
        with pytest.raises(StepError, match=r"must start with 0 .* take a start such as \[0, 1, 2\], or \[0, 2\]"):
            config.require_fitting(teacher.config)
        return
    assert make_student(teacher, config).config.global_attn_every_n_layers == every


def test_layers_that_share_their_weights_can_be_neither_chosen_nor_frozen() -> None:
    with pytest.raises(StepError, match="share their weights and cannot be chosen one by one; leave the step out"):
        Distill(**TRAINING, layers=(1, 3)).require_fitting(tiny_encoder("albert").config)
    with pytest.raises(StepError, match=r"must be 0 for ALBERT, .* got 2; set train_embeddings = false"):
        require_freezable(tiny_encoder("albert").config, 2)
