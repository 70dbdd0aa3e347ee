"""Opens an artifact folder: the manifest, the digests of its files, and its variants.

An artifact is a folder that holds everything needed to serve one model:

    manifest.json           describes the artifact (`Manifest`)
    tokenizer.json          text only: the tokeniser, in the format of the `tokenizers` library
    golden.npz              inputs and logits of each variant, to be checked where it is served
    VARIANT/model.onnx      one folder for each graph, named as a variant: cpu-fp32, cpu-int8, gpu-fp16, gpu-bf16
    evidence/*.json         what the gates measured; not part of the digest

The manifest lists every file that serving reads, with its sha256, and none of them lies outside the folder.

An operating point has a folder of its own, with operating-point.json and its evidence. `optimize` writes these
folders with the same classes.
"""

from __future__ import annotations

import hashlib
import json
import operator
import os
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from serving.errors import ArtifactError
from serving.model.files import ANEW, check_file, require_no_other
from serving.model.files import MANIFEST as MANIFEST
from serving.model.files import sha256_of as sha256_of

OPERATING_POINT = "operating-point.json"

Provider = Literal["CPUExecutionProvider", "CUDAExecutionProvider"]
Runtime = Literal["onnxruntime", "openvino"]
VariantName = Literal["cpu-fp32", "cpu-int8", "gpu-fp16", "gpu-bf16", "cpu-fp32-openvino", "cpu-int8-openvino"]
LongTexts = Literal["cut", "windows"]


def _inside(path: str) -> str:
    """A path that stays inside the folder it starts from, in its shortest form."""
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name or pure.as_posix() != path:
        raise ValueError("must be a relative path inside the artifact's folder, such as cpu-fp32/model.onnx")
    return path


InnerPath = Annotated[str, AfterValidator(_inside)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextSettings(_Frozen):
    """How a text becomes arrays. `tokenizer` is a file of the artifact."""

    kind: Literal["text"] = "text"
    tokenizer: InnerPath = "tokenizer.json"
    max_tokens: int = Field(ge=2)
    long_texts: LongTexts = "cut"
    """What becomes of a text with more tokens: it is cut, or taken as up to 8 windows over all of it."""
    watched_label: int | None = Field(default=None, ge=0)
    """Index of the label whose strongest window answers for a text; None takes the mean of the windows' logits."""
    pad_token_id: int = Field(ge=0)
    inputs: tuple[str, ...]
    """Input names of the graph, a subset of input_ids, attention_mask, token_type_ids; each int64 [rows, tokens]."""
    # Left out of the digest where it is False: an artifact for single texts keeps the digest that it had without.
    pairs: bool = Field(default=False, exclude_if=operator.not_)
    """Whether an item is a pair of texts, put together by the tokeniser's own template for pairs."""

    truncation_side: Literal["right", "left"] = Field(default="right", exclude_if="right".__eq__)
    """Where a text that is too long for the model is cut: at its end, or at its start."""

    @model_validator(mode="after")
    def _watches_windows(self) -> TextSettings:
        if self.watched_label is not None and self.long_texts != "windows":
            raise ValueError(f'watched_label needs long_texts = "windows", got "{self.long_texts}"')
        return self

    @model_validator(mode="after")
    def _cuts_pairs(self) -> TextSettings:
        if self.pairs and self.long_texts != "cut":
            raise ValueError(f'pairs needs long_texts = "cut", got "{self.long_texts}"')
        return self


class ImageSettings(_Frozen):
    """How an image becomes an array of float32 [channels, height, width].

    The image is converted to `mode`, resized until its short side is `resize_short_side`, and cropped at the centre to
    `width` x `height`; if `resize_short_side` is None, it is resized to `width` x `height` and not cropped. Then it is
    divided by 255 and normalised, `(x - mean) / std` for each channel. `resample` is Pillow's name of the filter.
    """

    kind: Literal["image"] = "image"
    width: int = Field(ge=1)
    height: int = Field(ge=1)
    mode: Literal["RGB", "L"] = "RGB"
    resize_short_side: int | None = Field(default=None, ge=1)
    resample: Literal["nearest", "bilinear", "bicubic", "lanczos"] = "bilinear"
    mean: tuple[float, ...]
    std: tuple[Annotated[float, Field(gt=0)], ...]
    input: str = "pixel_values"

    @model_validator(mode="after")
    def _one_for_each_channel(self) -> ImageSettings:
        channels = 3 if self.mode == "RGB" else 1
        if len(self.mean) != channels or len(self.std) != channels:
            got = f"{len(self.mean)} and {len(self.std)}"
            raise ValueError(f"mean and std must have {channels} values for mode {self.mode}, got {got}")
        return self


class Variant(_Frozen):
    """One ONNX graph, with the output `logits` float32 [batch, labels]. `sha256` and `size_bytes` describe `file`.

    `alone`: items run one at a time, because an answer would depend on the other items of its batch.
    """

    file: InnerPath
    precision: Literal["fp32", "int8", "fp16", "bf16"]
    provider: Provider
    sha256: Sha256
    size_bytes: int = Field(ge=1)
    alone: bool = False
    # Left out where it is the default, so that an artifact without the field keeps its digest.
    runtime: Runtime = Field(default="onnxruntime", exclude_if="onnxruntime".__eq__)
    """What computes the graph. Two variants may share a graph and have it computed by two runtimes."""

    @model_validator(mode="after")
    def _openvino_is_for_cpus(self) -> Variant:
        if self.runtime == "openvino" and self.provider != "CPUExecutionProvider":
            raise ValueError(f'runtime "openvino" is for CPUExecutionProvider, got {self.provider}')
        return self


class Machine(_Frozen):
    """What decides which kernels compute an artifact: the CPU, those of `serving.cpu.FEATURES` it has, the runtimes."""

    processor: str
    features: tuple[str, ...]
    onnxruntime: str
    openvino: str | None = Field(default=None, exclude_if=lambda version: version is None)
    """Its version, for an artifact with a variant that runs in OpenVINO."""

    def __str__(self) -> str:
        runtimes = f"ONNX Runtime {self.onnxruntime}" + (f", OpenVINO {self.openvino}" if self.openvino else "")
        return f"{self.processor} ({', '.join(self.features) or 'no features known'}; {runtimes})"


class Manifest(_Frozen):
    """The description of an artifact.

    The same recipe, seed and machine give the same manifest, except for `times`. If two variants are about equally
    fast, the published and default variants may differ too, because measurements decide them.
    """

    format: Literal[2] = 2
    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=63)
    """Its name in the model store."""
    role: Literal["screen", "expert"]
    labels: tuple[str, ...] = Field(min_length=2)
    thresholds: tuple[FiniteFloat, ...] | None = Field(default=None, exclude_if=lambda thresholds: thresholds is None)
    """An item has every label whose logit reaches its threshold; None where it has one label, that of the largest."""
    settings: Annotated[TextSettings | ImageSettings, Field(discriminator="kind")]
    variants: dict[VariantName, Variant] = Field(min_length=1)
    default_cpu: VariantName
    """The variant for the CPU that was measured as the fastest of those that passed their gates."""
    default_gpu: VariantName | None = None
    files: dict[InnerPath, Sha256]
    """sha256 of every file that serving reads, by its path inside the artifact."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    versions: dict[str, str] = Field(default_factory=dict)
    machine: Machine | None = None
    """Where the artifact was certified, and its golden logits computed."""
    seed: int
    quality: dict[str, Any] = Field(default_factory=dict)
    """Accuracy on the holdout, by variant. The figures behind it are in evidence/."""
    times: dict[str, Any] = Field(default_factory=dict)
    """What differs between runs: when the artifact was made, and measurements in milliseconds."""

    @model_validator(mode="after")
    def _names_what_is_there(self) -> Manifest:
        for name, variant in self.variants.items():
            if "/" not in variant.file:
                raise ValueError(f"file of variant {name} must lie in a folder, as in cpu-fp32/model.onnx")
            if self.files.get(variant.file) != variant.sha256:
                raise ValueError(f"files must list the file of variant {name}, with the variant's sha256")
        if isinstance(self.settings, TextSettings) and self.settings.tokenizer not in self.files:
            raise ValueError("files must list the tokenizer of settings")
        for field, provider in (("default_cpu", "CPUExecutionProvider"), ("default_gpu", "CUDAExecutionProvider")):
            default = getattr(self, field)
            if default is not None and (default not in self.variants or self.variants[default].provider != provider):
                raise ValueError(f"{field} must be one of variants, and for {provider}")
        if self.thresholds is not None and len(self.thresholds) != len(self.labels):
            raise ValueError(
                f"thresholds must name one for each label, got {len(self.thresholds)} for {len(self.labels)}"
            )
        watched = self.settings.watched_label if isinstance(self.settings, TextSettings) else None
        if watched is not None and watched >= len(self.labels):
            raise ValueError(f"watched_label must be the index of one of {len(self.labels)} labels, got {watched}")
        if watched is not None and self.thresholds is not None:
            raise ValueError("watched_label is for labels that exclude each other, got it beside thresholds")
        return self

    @property
    def synthetic(self) -> bool:
        """Whether the model was trained and measured on generated data, so that its figures say little."""
        return bool(self.provenance.get("data", {}).get("synthetic", False))

    @property
    def data_is(self) -> str:
        """`synthetic`, `unlabelled` where the teacher's answers stood in for labels, or `real`."""
        if self.synthetic:
            return "synthetic"
        return "unlabelled" if self.provenance.get("data", {}).get("labels_from") == "teacher" else "real"

    @property
    def digest(self) -> str:
        """sha256 over the served files and how they are used. Copying or renaming the artifact does not change it."""
        served: dict[str, Any] = {
            "labels": self.labels,
            "settings": self.settings.model_dump(),
            "default": [self.default_cpu, self.default_gpu],
            "files": self.files,
            "variants": {name: variant.model_dump(exclude={"size_bytes"}) for name, variant in self.variants.items()},
        }
        if self.thresholds is not None:
            served["thresholds"] = self.thresholds
        return hashlib.sha256(json.dumps(served, sort_keys=True).encode()).hexdigest()


class Artifact:
    """An artifact folder whose manifest was read. Make one with `open`, which checks the files."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = manifest.digest

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Artifact:
        """Open an artifact.

        Raises ArtifactError if the manifest or a file is missing, broken, has another digest or leads out of the
        folder, or if a file beside a graph is not listed.
        """
        root = Path(folder)
        manifest = read_manifest(root)
        for name, expected in manifest.files.items():
            check_file(root, name, expected)
        for variant in manifest.variants.values():
            require_no_other((root / variant.file).parent, {root / name for name in manifest.files})
        return cls(root, manifest)

    def variant_path(self, name: VariantName) -> Path:
        """The path of a variant's ONNX file. Raises ArtifactError if the artifact has no such variant."""
        variant = self.manifest.variants.get(name)
        if variant is None:
            there = ", ".join(self.manifest.variants)
            raise ArtifactError(f"{self.manifest.name} has no variant {name!r}; it has {there}")
        return self.folder / variant.file


def read_manifest(folder: Path) -> Manifest:
    """Read manifest.json alone. Raises ArtifactError if it is missing or breaks a rule."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(
            f"{folder} is not an artifact: it has no {MANIFEST}; make one with `python -m optimize run RECIPE`"
        ) from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        what = f"{where}: {first['msg']} (got {type(first['input']).__name__})" if where else first["msg"]
        other = where == "format"
        why = "the artifact was made by another version of Sieve" if other else "the manifest was changed or damaged"
        raise ArtifactError(f"{path}: {what.replace('Value error, ', '')}; {why}: {ANEW}") from None


def write_json(path: Path, value: object) -> None:
    """Write JSON to `path`, as `write_text` does."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file beside `path`, then rename it: a full disk or a signal leaves the old file whole."""
    beside = path.with_name(f".{path.name}.partial")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)
