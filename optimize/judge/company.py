"""An answer must not depend on the other items of its batch, its company.

Dynamic INT8 takes the range of its activations from the whole batch: with MiniLM on AG News, 0.76 % of the labels
changed in batches of 16. A graph whose answers move in company is published as `alone`, so its items run one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx

from optimize.build import Build
from optimize.judge.measure import run_of
from optimize.models.graphs import range_of_batch
from optimize.results import Precision, Result
from serving.arrays import Array, Logits
from serving.model.head import SOFTMAX, Head, differ

SIZE = 16
"""Items of a batch, drawn at random, so that short and long texts keep each other company."""
ITEMS = 1024
"""At most so many items are put into company."""
MAX_GAP = 1e-4
"""How far a logit may move in company. Padding alone moves one by about 1e-6: sums are added up in another order."""
_ROUNDING: dict[Precision, float] = {"fp16": 2.0**-11, "bf16": 2.0**-8}

Run = Callable[[Sequence[Array]], Logits]
"""Prepared items -> logits [items, labels]."""


def runs_alone(build: Build, graph: Result, logits: Logits, head: Head = SOFTMAX) -> bool:
    """Whether the items of a graph must run one at a time.

    `logits` [items, labels] are those of the selection set, each item run by itself. A graph that takes ranges from its
    batch must; any other is tried.
    """
    if range_of_batch(onnx.load(graph.path)):
        return True
    items = build.prepared("selection", graph).items
    return bool(in_company(run_of(build, graph), items, logits, graph.precision, build.recipe.seed, head)["failed"])


def in_company(
    run: Run, items: Sequence[Array], alone: Logits, precision: Precision, seed: int, head: Head = SOFTMAX
) -> dict[str, Any]:
    """How logits move and answers flip when items share a batch, and a sentence for each bound that is missed.

    `alone` [items, labels] are the logits of `items`, each run by itself. In 16 bits, logits may move by four units
    in the last place of the largest, where those are more than `MAX_GAP`.
    """
    order = np.random.default_rng(seed).permutation(len(items))[:ITEMS]
    rows = [run([items[place] for place in order[start : start + SIZE]]) for start in range(0, len(order), SIZE)]
    together, alone = np.concatenate(rows), alone[order]
    allowed = max(MAX_GAP, 4 * float(np.abs(alone).max()) * _ROUNDING.get(precision, 0.0))
    gap, flips = float(np.abs(together - alone).max()), int(differ(head.decide(together), head.decide(alone)).sum())
    failed = []
    # Written so that NaN fails.
    if not gap <= allowed:
        failed.append(f"a logit moves by {gap:.2g} in batches of {SIZE}, at most {allowed:.2g} is allowed")
    if flips:
        failed.append(f"{flips} of {len(order)} items get another label in batches of {SIZE}, none may")
    return {
        "batch_size": SIZE,
        "items": len(order),
        "max_gap": gap,
        "tolerance": allowed,
        "flips": flips,
        "flip_share": flips / len(order),
        "failed": failed,
    }
