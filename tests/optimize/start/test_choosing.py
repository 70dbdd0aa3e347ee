from __future__ import annotations

import numpy as np
import pytest
from transformers import AlbertConfig, BertConfig, ModernBertConfig, PretrainedConfig, ResNetConfig

from optimize.start import choosing
from optimize.start.facts import Lengths


@pytest.mark.parametrize(
    ("longest", "positions", "tokens"),
    [
        (20, 512, 32),
        (83, 512, 96),
        (96, 512, 96),
        (97, 512, 112),
        (5, 512, 16),
        (900, 512, 512),
        (900, 8192, 512),
        (90, 40, 40),
    ],
)
def test_max_tokens_reads_nearly_all_texts(longest: int, positions: int, tokens: int) -> None:
    lengths = Lengths("tokens", np.array([10] * 900 + [longest] * 100))
    assert choosing.max_tokens(lengths, positions) == tokens


@pytest.mark.parametrize(
    ("config", "layers"),
    [
        (BertConfig(num_hidden_layers=2), None),
        (BertConfig(num_hidden_layers=4), (0, 3)),
        (BertConfig(num_hidden_layers=6), (0, 5)),
        (BertConfig(num_hidden_layers=12), (0, 6, 11)),
        (BertConfig(num_hidden_layers=24), (0, 5, 9, 14, 18, 23)),
        (ModernBertConfig(num_hidden_layers=22, global_attn_every_n_layers=3), (0, 5, 10, 16, 21)),
        (AlbertConfig(num_hidden_layers=12), None),
    ],
)
def test_a_students_layers_fit_the_family(config: PretrainedConfig, layers: tuple[int, ...] | None) -> None:
    assert choosing.student_layers(config) == layers


@pytest.mark.parametrize(
    ("depths", "half"), [((3, 4, 6, 3), (2, 2, 3, 2)), ((2, 2, 2, 2), (1, 1, 1, 1)), ((1, 1, 1), None)]
)
def test_a_students_blocks(depths: tuple[int, ...], half: tuple[int, ...] | None) -> None:
    assert choosing.student_depths(depths) == half


def test_only_wide_resnets_are_pruned() -> None:
    assert choosing.pruning(ResNetConfig(hidden_sizes=[64, 128, 256, 512])) == {"channels_share": 0.5}
    assert choosing.pruning(ResNetConfig(hidden_sizes=[16, 32, 64, 64])) == {}
    assert choosing.pruning(BertConfig()) == {"heads_share": 0.5, "feed_forward_share": 0.5}


@pytest.mark.parametrize("step", ["fine-tune", "distill", "prune"])
def test_more_rows_need_fewer_epochs_and_wider_models_smaller_steps(step: str) -> None:
    epochs = [choosing.training(step, rows, width=384).epochs for rows in (200, 2_000, 20_000, 2_000_000)]
    assert epochs == sorted(epochs, reverse=True)
    assert epochs[0] == choosing.EPOCHS[step][1]
    assert epochs[-1] == choosing.EPOCHS[step][0]
    rates = [choosing.training(step, 2_000, width=width).learning_rate for width in (32, 384, 768, 1024)]
    assert rates == sorted(rates, reverse=True)
    assert choosing.training("fine-tune", 2_000, width=384).learning_rate == 5e-5


def test_two_items_of_luck_decide_no_gate() -> None:
    small = {"holdout": 100, "selection": 100}
    chosen = choosing.gates(small, 10, 4, 0.05, agreement=False)
    assert chosen.of_variants == chosen.tolerable_loss == 0.02
    assert chosen.expert["max_accuracy_drop"] == 0.02
    assert chosen.cascade["max_accuracy_drop"] == 0.07  # its promise may be used up, and two items more
    large = {"holdout": 10_000, "selection": 10_000}
    assert choosing.gates(large, 1_000, 4, 0.01, agreement=False).expert == {}
    assert choosing.gates(large, 1_000, 4, 0.01, agreement=True).expert["max_accuracy_drop"] == 0.03


def test_sizes_of_images() -> None:
    assert choosing.image_side([28] * 10) == 32
    assert choosing.image_side([8] * 10) == 8
    assert choosing.image_side([3000, 2000, 1000]) == 224
