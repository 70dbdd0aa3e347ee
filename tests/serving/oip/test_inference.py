"""What an inference request asks the cascade, and which requests are refused with which sentence."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from serving.cascade.cascade import DIRECT_BATCH_SIZE
from serving.errors import FailedItemError, InvalidInputError, MalformedError
from serving.http.priority import PriorityRule
from serving.load.budget import DEFAULT_MS
from serving.model.image_header import MAX_BYTES
from serving.model.pairs import TextPair
from serving.oip.asking import InferRequest
from serving.oip.inference import InferResponse, inference_of
from serving.watch.metrics import Metrics
from serving.watch.record import RequestRecord
from tests.serving.asgi import request_of
from tests.serving.http.test_api import SURE, UNSURE, both
from tests.serving.model.test_image import encoded, noise
from tests.serving.oip.models import VERSION, Service, model

PNG = encoded(noise(8, 6))


class Asking:
    """Asks one model."""

    def __init__(self, metrics: Metrics, of: Any, proof: str = "") -> None:
        self._inference = inference_of(of, Service(metrics).classifying, PriorityRule(proof))
        self.record = RequestRecord("/v2/models/text/infer", "one")
        self.entered = 0

    def __call__(
        self,
        inputs: dict[str, Sequence[object]],
        *,
        headers: dict[str, str] | None = None,
        outputs: dict[str, bool] | None = None,
        **asked: Any,
    ) -> InferResponse:
        def enter() -> None:
            assert self.record.budget is not None
            self.entered += 1

        whole = InferRequest(**{"id": "", "parameters": {}, "binary": False, **asked}, inputs=inputs, outputs=outputs)
        request = request_of(headers=headers)
        request.scope["client"] = ("127.0.0.1", 1)
        return asyncio.run(self._inference.answer("sms-risk", whole, self.record, request, enter))


def values(response: InferResponse) -> dict[str, Any]:
    return {
        tensor.name: tensor.values if isinstance(tensor.values, list) else tensor.values.tolist()  # type: ignore[union-attr]
        for tensor in response.outputs
    }


def test_texts_come_as_strings_or_as_bytes(metrics: Metrics) -> None:
    ask = Asking(metrics, model())
    response = ask({"text": [SURE, UNSURE.encode()]}, id="mine", outputs={"label": True, "degraded": False})
    assert (response.model_name, response.model_version, response.binary) == ("sms-risk", VERSION, [True, False])
    assert values(response) == {"label": [b"a", b"a"], "degraded": [False, True]}
    assert (ask.record.request_id, ask.entered, ask.record.budget.budget_ms) == ("mine", 1, DEFAULT_MS)
    assert len(ask.record.answers) == 2


def test_all_outputs_come_without_any_named(metrics: Metrics) -> None:
    response = Asking(metrics, model())({"text": [SURE]}, binary=True)
    assert set(response.binary) == {True}
    assert len(response.binary) == len(response.outputs) == 8


def test_the_smallest_budget_and_the_priority_of_the_parameters_count(metrics: Metrics) -> None:
    ask = Asking(metrics, model())
    ask({"text": [SURE]}, parameters={"budget_ms": 300, "priority": 1}, headers={"X-Budget-Ms": "200"})
    assert (ask.record.budget.budget_ms, ask.record.priority) == (200, "high")
    ask = Asking(metrics, model(), "X-Key: secret")
    ask({"text": [SURE]}, parameters={"priority": "high"})
    assert ask.record.priority == "normal", "without the operator's header"


def test_pairs_have_two_inputs(metrics: Metrics) -> None:
    seen = []

    def prepare(content: Any) -> Any:
        seen.append(content)
        return both(1.0)

    pairs = model("text", prepare, pairs=True)
    Asking(metrics, pairs)({"text": ["a", b"b"], "text_pair": [b"c", "d"]})
    assert seen == [TextPair("a", "c"), TextPair("b", "d")]
    with pytest.raises(InvalidInputError, match=r"^text_pair: must be there, as the cascade .* is for pairs"):
        Asking(metrics, pairs)({"text": ["a"]})
    with pytest.raises(InvalidInputError, match=r"^text_pair: must be as many as text, 2, got 1; send one for each"):
        Asking(metrics, pairs)({"text": ["a", "b"], "text_pair": ["c"]})
    with pytest.raises(InvalidInputError, match=r"^text_pair\[1\]: must not be empty"):
        Asking(metrics, pairs)({"text": ["a", "b"], "text_pair": ["c", " "]})


def test_images_are_files_or_base64_of_files(metrics: Metrics) -> None:
    seen = []

    def prepare(image: Any) -> Any:
        seen.append((image.format, image.size))
        return both(1.0)

    jpeg = encoded(noise(4, 4), "JPEG")
    response = Asking(metrics, model("image", prepare))({"image": [PNG, base64.b64encode(jpeg).decode()]})
    assert seen == [("PNG", (8, 6)), ("JPEG", (4, 4))]
    assert values(response)["label"] == [b"a", b"a"]


def test_a_long_list_of_images_is_one_piece_of_heavy_work(metrics: Metrics) -> None:
    ask = Asking(metrics, model("image", lambda _image: both(1.0)))
    count = DIRECT_BATCH_SIZE + 1
    response = ask({"image": [PNG] * count}, parameters={"budget_ms": 1000})
    assert (len(values(response)["label"]), ask.record.heavy_work) == (count, None)


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({}, "inputs: must be there, got none"),
        ({"texts": ["a"]}, "inputs: must have text, got others"),
        ({"text": ["a"], "text_pair": ["b"]}, "text_pair: must be left out, as the cascade .* is for single texts"),
        ({"text": ["a"], "image": ["b"]}, "inputs: may be text, got others too"),
        ({"text": [" "]}, "text: must not be empty, got a string of white space"),
        ({"text": ["a", 5]}, r"text\[1\]: must be a string, got a number"),
        ({"text": ["a", "x" * 20_001]}, r"text\[1\]: must have at most 20,000 characters, got 20,001"),
        ({"text": [b"\xff"]}, "text: must be UTF-8, got bytes that are not"),
    ],
)
def test_what_breaks_a_rule_of_texts_is_refused_with_our_own_sentence(
    metrics: Metrics, inputs: dict[str, Sequence[object]], said: str
) -> None:
    ask = Asking(metrics, model())
    with pytest.raises(InvalidInputError, match=f"^{said}"):
        ask(inputs)
    assert ask.entered == 0


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ([5], "image: must be a string of base64, got a number"),
        (["no base64!"], "image: must be base64"),
        ([PNG, b""], r"image\[1\]: must not be empty, got 0 bytes"),
        ([PNG, b"text"], r"image\[1\]: must be"),
        ([b"x" * (MAX_BYTES + 1)], "image: must have at most 10,000,000 bytes, got 10,000,001"),
        ([PNG, b"x" * MAX_BYTES], "image: must have at most 10,000,000 bytes in all files together, got more"),
    ],
)
def test_what_breaks_a_rule_of_images_is_refused(metrics: Metrics, sent: Sequence[object], said: str) -> None:
    with pytest.raises(InvalidInputError, match=f"^{said}"):
        Asking(metrics, model("image"))({"image": sent})


def test_an_id_that_logs_cannot_hold_is_refused(metrics: Metrics) -> None:
    with pytest.raises(InvalidInputError, match=r"^id: must be up to 128 visible ASCII characters, got others or more"):
        Asking(metrics, model())({"text": [SURE]}, id="a b")


def test_a_priority_that_is_none_is_refused(metrics: Metrics) -> None:
    with pytest.raises(InvalidInputError, match=r"^parameters\.priority: must be high or normal, got something else"):
        Asking(metrics, model())({"text": [SURE]}, parameters={"priority": "urgent"})


def test_one_item_on_which_both_models_fail_fails_the_request(metrics: Metrics) -> None:
    def fails_on_one(items: Sequence[Any]) -> Any:
        return np.array([[np.nan, np.nan] if item[0] == 0 else [9.0, 0.0] for item in items], dtype=np.float32)

    with pytest.raises(FailedItemError, match=r"^text\[1\]: must be an input that a model can take"):
        Asking(metrics, model(screen=fails_on_one))({"text": [SURE, UNSURE]})


def test_bytes_that_are_no_text_are_malformed(metrics: Metrics) -> None:
    with pytest.raises(MalformedError):
        Asking(metrics, model())({"text": [b"\xc3("]})
