"""Checkpoints for images that are no folders of transformers', and the image settings that any checkpoint brings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import PretrainedConfig, PreTrainedModel

from optimize.errors import CheckpointError
from optimize.models.heads import HeadRules, put_in_order
from optimize.models.image_settings import Brought, InexpressibleError, of_processor, of_timm, of_torchvision
from optimize.models.resnet_layouts import channels_of, has_cifar_layout, resnet_of
from optimize.models.resnet_state import find_resnet
from optimize.models.timm_folder import require_plain, timm_config, timm_labels, timm_weights
from optimize.models.weights import read_state_dict
from optimize.progress import console
from serving.model.artifact import ImageSettings


def from_state_dict(file: Path, labels: tuple[str, ...], *, fresh_head: bool) -> PreTrainedModel:
    """The ResNet in a file of weights, with a head for `labels`, in their order. Raises CheckpointError."""
    found = find_resnet(read_state_dict(file), str(file))
    for remark in found.remarks:
        console.print(f"checkpoint {file}: {remark}", markup=False, soft_wrap=True)
    return resnet_of(found.state, labels, where=str(file), fresh_head=fresh_head)


def from_timm(folder: Path, config: dict[str, Any], labels: tuple[str, ...], rules: HeadRules) -> PreTrainedModel:
    """The ResNet in timm's folder, whose config.json holds `config`, with a head for `labels`.

    A head whose labels are named is put into their order. Raises CheckpointError.
    """
    model = from_state_dict(timm_weights(folder), labels, fresh_head=rules.fresh)
    require_plain(config, folder)  # after the tensors, whose names tell more
    theirs = timm_labels(config)
    if theirs is not None and len(theirs) == len(labels):
        put_in_order(model, theirs, labels, rules, folder)
    return model


def settings_of(source: Path | None) -> ImageSettings:
    """The image settings that come with the file or folder of a checkpoint, for a recipe without [image].

    Raises CheckpointError when it brings none, or others than can be served.
    """
    remedy = "add the table [image] with width, height, mean and std to the recipe"
    try:
        brought = None if source is None else _brought_by(source)
    except InexpressibleError as error:
        raise CheckpointError(f"checkpoint {source} prepares images as Sieve cannot ({error}); {remedy}") from None
    if brought is None:
        raise CheckpointError(f"checkpoint {source} brings no settings for images; {remedy}")
    return brought.settings


def difference(own: ImageSettings, source: Path | None) -> str | None:
    """One line that says how a recipe's [image] differs from what the checkpoint brings; None where it does not."""
    try:
        brought = None if source is None else _brought_by(source)
    except InexpressibleError as error:
        return f"image: the checkpoint prepares images as Sieve cannot ({error}); the recipe's [image] is used"
    if brought is None:
        return None
    ours, theirs = own.model_dump(), brought.settings.model_dump()
    told = [f"{name} = {ours[name]} (there {theirs[name]})" for name in ours if ours[name] != theirs[name]]
    if not told:
        return None
    return f"image: [image] differs from {brought.origin}: {', '.join(told)}; the recipe's is used"


def require_channels(model: PretrainedConfig, settings: ImageSettings) -> None:
    """Raise CheckpointError unless images with these settings have as many channels as the model takes."""
    takes, gets = model.num_channels, len(settings.mean)
    if takes == gets:
        return
    mode = {1: "L", 3: "RGB"}.get(takes)
    remedy = f'set [image] mode = "{mode}", with mean and std of {takes}' if mode else "bring a model for 1 or 3"
    raise CheckpointError(
        f"the checkpoint takes images of {takes} {'channel' if takes == 1 else 'channels'}, and those of mode "
        f"{settings.mode} have {gets}; {remedy}"
    )


def _brought_by(source: Path) -> Brought | None:
    if source.is_dir():
        config = timm_config(source)
        return of_processor(source) if config is None else of_timm(config)
    state = find_resnet(read_state_dict(source), str(source)).state
    if has_cifar_layout(state) or "conv1.weight" not in state or channels_of(state) != 3:
        return None  # nobody published settings for these
    return of_torchvision(source.name)
