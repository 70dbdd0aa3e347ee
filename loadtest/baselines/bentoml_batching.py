"""One model behind BentoML's adaptive batching, with all of BentoML's defaults.

`bentoml serve loadtest.baselines.bentoml_batching:Classify`. The variable BASELINE holds the model as JSON (see
`model.Baseline`). Texts only. A batchable API takes a list of texts, which has one text here, and answers with a list.
"""

from __future__ import annotations

import json
import os
import typing as t

import bentoml

from loadtest.baselines.model import Model


@bentoml.service
class Classify:
    """Tokeniser and model in the server's process."""

    def __init__(self) -> None:
        self.model = Model(json.loads(os.environ["BASELINE"]))

    @bentoml.api(batchable=True)
    def classify_text(self, text: list[str]) -> list[dict[str, t.Any]]:
        return [dict(answer) for answer in self.model.classify_all(text)]
