"""A model as a team would first put it behind an endpoint: the request's content in, label and shares out.

What it is made of comes as one JSON object (the variable BASELINE): `kind` (text or image), `runtime` (torch or onnx),
`model` (ONNX file, Hugging Face folder, or exported program of PyTorch), `labels`; for a text `tokenizer` and
`max_tokens`, for an image `mode` (Pillow's, RGB or L), `width`, `height`, `mean`, `std`, `resample` and, where the
middle is cut out, `resize_short_side`. One thread.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Run = Callable[[dict[str, Array]], Array]


class Model:
    """One model; `classify` takes one text or the bytes of one image."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.labels = list(settings["labels"])
        self.run: Run = (_torch if settings["runtime"] == "torch" else _onnx)(settings)
        if settings["kind"] == "text":
            from tokenizers import Tokenizer

            self._tokenizer = Tokenizer.from_file(settings["tokenizer"])
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(settings["max_tokens"])

    def prepare(self, content: Any) -> Array:
        """Token ids int64 [tokens], or pixels float32 [channels, height, width]."""
        if self.settings["kind"] == "text":
            return np.array(self._tokenizer.encode(content).ids)
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
        mean, std = (np.array(self.settings[name], dtype=np.float32) for name in ("mean", "std"))
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))

    def logits(self, items: list[Array]) -> Array:
        """Prepared items -> logits float32 [items, labels]; texts are padded to the longest."""
        if self.settings["kind"] == "image":
            return self.run({"pixel_values": np.stack(items)})
        ids = np.zeros((len(items), max(map(len, items))), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, item in enumerate(items):
            ids[row, : len(item)], mask[row, : len(item)] = item, 1
        return self.run({"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)})

    def answer(self, logits: Array, temperature: float = 1.0) -> dict[str, Any]:
        """Logits float32 [labels] -> label, confidence and the shares of all labels."""
        shares = np.exp((logits - logits.max()) / temperature)
        shares /= shares.sum()
        scores = dict(zip(self.labels, shares.tolist(), strict=True))
        return {"label": self.labels[int(shares.argmax())], "confidence": float(shares.max()), "scores": scores}

    def classify(self, content: Any) -> dict[str, Any]:
        """One answer."""
        return self.answer(self.logits([self.prepare(content)])[0])


def _onnx(settings: Mapping[str, Any]) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(settings["model"], options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    return lambda arrays: session.run(["logits"], {name: arrays[name] for name in names})[0]


def _torch(settings: Mapping[str, Any]) -> Run:
    import torch

    torch.set_num_threads(1)
    if settings["kind"] == "text":
        from transformers import AutoModelForSequenceClassification

        model = AutoModelForSequenceClassification.from_pretrained(settings["model"]).eval()
    else:
        model = torch.export.load(settings["model"]).module()

    def run(arrays: dict[str, Array]) -> Array:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            if settings["kind"] == "image":
                return np.asarray(model(tensors["pixel_values"]))
            return np.asarray(model(**tensors).logits)

    return run
