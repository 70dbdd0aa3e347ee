"""The arrays that pass between the parts of a service."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
"""One prepared item: token ids int64 [tokens], or pixels float32 [channels, height, width]."""
Logits = NDArray[np.float32]
"""A model's raw scores, float32 [items, labels]."""
