from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from sklearn.utils.class_weight import compute_class_weight

from optimize.errors import StepError
from optimize.models.class_weights import weights_of
from optimize.models.distillation import DistillationConfig
from optimize.models.training import TrainingConfig
from optimize.steps.fine_tune import FineTune

TARGETS = np.repeat(np.arange(3), [90, 9, 1])
LABELS = ("ham", "spam", "fraud")


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    weights = weights_of("balanced", TARGETS, LABELS)
    np.testing.assert_allclose(weights, compute_class_weight("balanced", classes=np.arange(3), y=TARGETS))
    np.testing.assert_allclose(weights[TARGETS].sum(), len(TARGETS))


def test_a_label_without_rows_takes_nothing_from_the_others() -> None:
    np.testing.assert_allclose(weights_of("balanced", TARGETS[:99], LABELS)[:2], [99 / 180, 99 / 18])


def test_a_table_names_some_labels_and_the_others_have_1() -> None:
    assert weights_of({"fraud": 20.0}, TARGETS, LABELS).tolist() == [1, 1, 20]
    assert weights_of(None, TARGETS, LABELS) is None


def test_a_table_with_another_label_is_refused() -> None:
    with pytest.raises(
        StepError, match=r"class_weights must name labels of the data, got 'Spam'; .* its 3, such as 'ham'"
    ):
        weights_of({"Spam": 2.0}, TARGETS, LABELS)


@pytest.mark.parametrize("value", ["even", {"spam": 0.0}, {"spam": -1.0}, 2.0])
def test_values_that_are_no_weights_are_refused(value: object) -> None:
    with pytest.raises(ValidationError, match="class_weights"):
        TrainingConfig(epochs=1, learning_rate=0.1, class_weights=value)  # type: ignore[arg-type]


def test_class_weights_need_a_loss_on_labels() -> None:
    with pytest.raises(ValidationError, match="class_weights needs soft_weight below 1"):
        DistillationConfig(epochs=1, learning_rate=0.1, soft_weight=1.0, class_weights="balanced")


def test_a_step_without_class_weights_has_the_key_that_it_had() -> None:
    assert "class_weights" not in FineTune(epochs=1, learning_rate=0.1).key_fields()
    weighed = FineTune(epochs=1, learning_rate=0.1, class_weights="balanced").key_fields()
    assert weighed["class_weights"] == "balanced"


def test_every_label_of_a_set_counts_for_the_balance() -> None:
    sets = np.array([[True, False], [True, True], [True, False], [False, False]])
    weights = weights_of("balanced", sets, ("a", "b"))
    assert weights is not None
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / 2])
