"""One model alone in a process, with no server around it: what a server could reach if it cost nothing.

    python -m loadtest.baselines.alone SECONDS TEXT

The variable BASELINE holds the model as JSON (see `model.Baseline`). Prints JSON: for each batch size the texts a
second, and the median and the 99th percentile of a batch in milliseconds. The text is tokenised anew each time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Sequence

import numpy as np

from loadtest.baselines.model import Model

SIZES = (1, 8, 32)
WARM_UP = 3


def alone(model: Model, text: str, seconds: float, sizes: Sequence[int] = SIZES) -> dict[str, dict[str, float]]:
    """The figures of each batch size, each measured for so many seconds."""
    return {str(size): of_size(model, [text] * size, seconds) for size in sizes}


def of_size(model: Model, texts: Sequence[str], seconds: float) -> dict[str, float]:
    """The figures of batches of these texts: per_s, p50_ms and p99_ms."""
    for _ in range(WARM_UP):
        model.classify_all(texts)
    took_s, end = [], time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        model.classify_all(texts)
        took_s.append(time.perf_counter() - begin)
    p50_s, p99_s = np.percentile(took_s, (50, 99))
    return {
        "per_s": round(len(texts) * len(took_s) / sum(took_s), 2),
        "p50_ms": round(1e3 * float(p50_s), 3),
        "p99_ms": round(1e3 * float(p99_s), 3),
    }


if __name__ == "__main__":
    print(json.dumps(alone(Model(json.loads(os.environ["BASELINE"])), sys.argv[2], float(sys.argv[1]))))
