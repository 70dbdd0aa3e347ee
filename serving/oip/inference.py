"""Inference: from the elements of a request's tensors to tensors of answers, on the road of all other requests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from serving.cascade.modality import Modality
from serving.errors import InvalidInputError, MalformedError, TooLargeError
from serving.http.base64_image import image_of
from serving.http.body import MAX_BASE64_BYTES, MAX_JSON_BYTES, not_too_long
from serving.http.classifying import Classifying, Given, failed_item
from serving.http.guard import REQUEST_ID, Enter
from serving.http.priority import PriorityRule
from serving.http.stated_budget import budget_ms_of
from serving.http.texts import SingleTexts, require_both
from serving.model.image_header import MAX_BYTES
from serving.model.pairs import characters_of, check_pair
from serving.model.text import Text, TextPair, check_text
from serving.oip.asking import InferRequest
from serving.oip.models import Item, tensors_of, wanted_of
from serving.oip.tensors import Tensor
from serving.watch.record import RequestRecord


@dataclass(frozen=True, slots=True)
class InferResponse:
    """The answer to an inference request; `binary` says of each output whether it is sent as bytes."""

    model_name: str
    model_version: str
    outputs: Sequence[Tensor]
    binary: Sequence[bool]


class Inference(ABC):
    """Answers inference requests to one cascade. `max_bytes`: of a request's body."""

    max_bytes: int

    def __init__(self, modality: Modality, classifying: Classifying, priority: PriorityRule) -> None:
        self.modality, self.classifying, self._priority = modality, classifying, priority

    async def answer(
        self,
        name: str,
        asked: InferRequest,
        record: RequestRecord,
        request: Request,
        enter: Enter,
        waited_s: float = 0.0,
    ) -> InferResponse:
        """The answer of the model that the request calls `name`; its body was waited for so long.

        Raises a SieveError as the handlers of our own addresses do.
        """
        if asked.id:
            if not REQUEST_ID.fullmatch(asked.id):
                raise InvalidInputError(
                    "id", "must be up to 128 visible ASCII characters, got others or more; leave it out for a new one"
                )
            record.request_id = asked.id
        if asked.priority is not None:
            record.priority = self._priority.stated(asked.priority, request, "parameters.priority")
        wanted = wanted_of(self.modality, asked.outputs)
        _require_inputs(asked.inputs)
        given = await self._given(asked, record, request, enter, waited_s)
        items = [_item(each, field, record) for each, field in zip(given, self._fields(len(given)), strict=True)]
        tensors = tensors_of(self.modality, items, wanted)
        binary = [asked.binary] * len(wanted) if asked.outputs is None else list(asked.outputs.values())
        return InferResponse(name, self.modality.version, tensors, binary)

    @abstractmethod
    async def _given(
        self, asked: InferRequest, record: RequestRecord, request: Request, enter: Enter, waited_s: float
    ) -> list[Given]:
        """Read the items, tell the record, enter, and classify them."""

    def _fields(self, count: int) -> list[str]:
        """What errors call the items."""
        name = self.modality.kind
        return [name] if count == 1 else [f"{name}[{place}]" for place in range(count)]


class TextInference(Inference):
    """Of a cascade for texts or pairs of texts."""

    max_bytes = MAX_JSON_BYTES

    async def _given(
        self, asked: InferRequest, record: RequestRecord, request: Request, enter: Enter, waited_s: float
    ) -> list[Given]:
        texts = self._texts(asked.inputs)
        record.was_read(budget_ms_of(request, asked.budget_ms), waited_s)
        enter()
        characters = sum(characters_of(text) if isinstance(text, TextPair) else len(text) for text in texts)
        return await self.classifying.texts(self.modality, texts, characters, record, request)

    def _texts(self, inputs: Mapping[str, Sequence[object]]) -> list[Text]:
        first = _of(inputs, "text")
        fields = self._fields(len(first))
        if not self.modality.pairs:
            _require_no_others(inputs, {"text"}, SingleTexts.misplaced)
            return [check_text(_string(value, field), field) for value, field in zip(first, fields, strict=True)]
        require_both(inputs, "text", "text_pair")
        _require_no_others(inputs, {"text", "text_pair"}, {})
        second = inputs["text_pair"]
        if len(second) != len(first):
            raise InvalidInputError(
                "text_pair", f"must be as many as text, {len(first)}, got {len(second)}; send one for each text"
            )
        pairs: list[Text] = []
        for one, other, field in zip(first, second, fields, strict=True):
            pair_field = field.replace("text", "text_pair")
            pairs.append(check_pair(_string(one, field), _string(other, pair_field), field, pair_field))
        return pairs


class ImageInference(Inference):
    """Of a cascade for images. All images of a request together have no more bytes than one may have."""

    max_bytes = MAX_BASE64_BYTES

    async def _given(
        self, asked: InferRequest, record: RequestRecord, request: Request, enter: Enter, waited_s: float
    ) -> list[Given]:
        sent = _of(asked.inputs, "image")
        _require_no_others(asked.inputs, {"image"}, {})
        files = [value if isinstance(value, bytes) else await image_of(value) for value in sent]
        if sum(map(len, files)) > MAX_BYTES and len(files) > 1:
            raise TooLargeError(
                "image", f"must have at most {MAX_BYTES:,} bytes in all files together, got more; send fewer at a time"
            )
        record.was_read(budget_ms_of(request, asked.budget_ms), waited_s)
        fields = self._fields(len(files))
        images = [await self.classifying.header(*each) for each in zip(files, fields, strict=True)]
        enter()
        return await self.classifying.images(self.modality, images, record, request)


def inference_of(modality: Modality, classifying: Classifying, priority: PriorityRule) -> Inference:
    """What answers inference requests to this cascade."""
    kind = ImageInference if modality.kind == "image" else TextInference
    return kind(modality, classifying, priority)


def _item(given: Given, field: str, record: RequestRecord) -> Item:
    if given.answer.answer is None:
        raise failed_item(field, record)
    return Item(given.answer.answer, given.answer, given.truncated)


def _require_inputs(inputs: Mapping[str, Sequence[object]]) -> None:
    if not inputs:
        raise InvalidInputError("inputs", "must be there, got none; send the tensors that the model's metadata names")


def _of(inputs: Mapping[str, Sequence[object]], name: str) -> Sequence[object]:
    if name not in inputs:
        raise InvalidInputError("inputs", f"must have {name}, got others; see the model's metadata")
    return inputs[name]


def _require_no_others(inputs: Mapping[str, object], allowed: set[str], misplaced: Mapping[str, str]) -> None:
    for name in inputs.keys() - allowed:
        if name in misplaced:
            raise InvalidInputError(name, misplaced[name])
        raise InvalidInputError(
            "inputs", f"may be {' and '.join(sorted(allowed))}, got others too; leave out what is none of them"
        )


def _string(value: object, field: str) -> object:
    """A text, decoded where it came as bytes."""
    if not isinstance(value, bytes):
        return not_too_long(value, field)
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise MalformedError(field, "must be UTF-8, got bytes that are not; encode the text as UTF-8") from None
