"""A model behind an endpoint, as a team would write it first: content in, label and scores out, on one thread."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Floats = NDArray[np.float32]
Run = Callable[[Mapping[str, Ids | Floats]], Floats]
MAX_BATCH_SIZE = 32
BATCH_WINDOW_MS = 2
"""What servers that batch wait for more requests, where they can be told; Sieve's experts take 32, too."""


class Baseline(TypedDict):
    """What a model is made of; the baselines read it as JSON from the variable BASELINE.

    `model`: an ONNX file, a Hugging Face folder, or an exported program of PyTorch. A text needs `tokenizer` (a file)
    and `max_tokens`. An image needs the rest: `mode` is Pillow's, `resample` a filter's name, and `resize_short_side`
    is the size of the short side from which the middle is cut out.
    """

    kind: Literal["text", "image"]
    runtime: Literal["torch", "onnx"]
    model: str
    labels: Sequence[str]
    tokenizer: NotRequired[str]
    max_tokens: NotRequired[int]
    mode: NotRequired[str]
    width: NotRequired[int]
    height: NotRequired[int]
    mean: NotRequired[Sequence[float]]
    std: NotRequired[Sequence[float]]
    resample: NotRequired[str]
    resize_short_side: NotRequired[int | None]


class Answer(TypedDict):
    """The label with the highest score, that score, and the scores of all labels."""

    label: str
    confidence: float
    scores: dict[str, float]


class Model:
    """One model; `classify` takes one text or the bytes of one image."""

    def __init__(self, settings: Baseline) -> None:
        self.settings = settings
        self.labels = list(settings["labels"])
        self.run: Run = (_torch if settings["runtime"] == "torch" else _onnx)(settings)
        if settings["kind"] == "text":
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(settings["tokenizer"])
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(settings["max_tokens"])

    def prepare(self, content: str | bytes) -> Ids | Floats:
        """Token ids int64 [tokens], or pixels float32 [channels, height, width]."""
        if isinstance(content, str):
            return np.array(self._tokenizer.encode(content).ids, dtype=np.int64)
        return self._pixels(content)

    def _pixels(self, content: bytes) -> Floats:
        from PIL import Image, ImageOps

        width, height = self.settings["width"], self.settings["height"]
        resample = Image.Resampling[self.settings["resample"].upper()]
        image = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert(self.settings["mode"])
        if (short := self.settings.get("resize_short_side")) is not None:
            ratio = short / min(image.size)
            image = image.resize((round(image.width * ratio), round(image.height * ratio)), resample)
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
        else:
            image = image.resize((width, height), resample)
        pixels = np.asarray(image, dtype=np.float32) / 255
        pixels = pixels if pixels.ndim == 3 else pixels[..., None]
        mean, std = (np.array(moment, dtype=np.float32) for moment in (self.settings["mean"], self.settings["std"]))
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))

    def logits(self, items: Sequence[Ids | Floats]) -> Floats:
        """Logits float32 [items, labels] of prepared items; texts are padded to the longest."""
        if self.settings["kind"] == "image":
            return self.run({"pixel_values": np.stack(items, dtype=np.float32)})
        ids = np.zeros((len(items), max(map(len, items))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item)], mask[row, : len(item)] = item, 1
        return self.run({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})

    def answer(self, logits: Floats, temperature: float = 1.0) -> Answer:
        """The answer of logits float32 [labels], divided by `temperature`."""
        shares = np.exp((logits - logits.max()) / temperature)
        shares /= shares.sum()
        scores = dict(zip(self.labels, shares.tolist(), strict=True))
        return {"label": self.labels[int(shares.argmax())], "confidence": float(shares.max()), "scores": scores}

    def classify(self, content: str | bytes) -> Answer:
        """Answer one request."""
        return self.classify_all([content])[0]

    def classify_all(self, contents: Sequence[str | bytes]) -> list[Answer]:
        """Answer several requests in one batch."""
        return [self.answer(row) for row in self.logits([self.prepare(content) for content in contents])]


def _onnx(settings: Baseline) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(settings["model"], options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda arrays: np.asarray(session.run(["logits"], {name: arrays[name] for name in names})[0])


def _torch(settings: Baseline) -> Run:
    import torch

    torch.set_num_threads(1)
    if settings["kind"] == "text":
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(settings["model"]).eval()
    else:
        model = torch.export.load(settings["model"]).module()

    def run(arrays: Mapping[str, Ids | Floats]) -> Floats:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            if settings["kind"] == "image":
                return np.asarray(model(tensors["pixel_values"]))
            return np.asarray(model(**tensors).logits)

    return run
