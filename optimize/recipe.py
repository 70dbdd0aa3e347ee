"""Recipes: one TOML file a cascade, checked whole when it is read."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from optimize.data.splits import DataConfig
from optimize.errors import RecipeError
from optimize.models.checkpoint import CheckpointConfig
from optimize.recipes import shipped_recipes
from optimize.steps.distill import DistillConfig
from optimize.steps.export import ExportConfig
from optimize.steps.fine_tune import FineTuneConfig
from optimize.steps.fuse import FuseConfig
from optimize.steps.prune import PruneConfig
from optimize.steps.quantize import QuantizeConfig
from serving.model.artifact import ImageSettings, sha256_of

StepConfig = Annotated[
    DistillConfig | PruneConfig | ExportConfig | FuseConfig | QuantizeConfig, Field(discriminator="step")
]
_ORDER = {"distill": 0, "prune": 1, "export": 2, "fuse": 3, "quantize": 3}


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextRecipe(_Table):
    """Texts are cut at `max_tokens`, in training and in service."""

    max_tokens: int = Field(default=128, ge=2, le=512)


class Gates(_Table):
    """What a variant must hold to be published, measured on the selection set against the one it came from."""

    max_accuracy_drop: float = Field(default=0.005, ge=0, le=1)
    min_speedup: float = Field(default=1.05, ge=0)
    """Above 1, so that noise does not decide which of two equally fast graphs is published."""
    max_logit_gap: float = Field(default=1e-3, gt=0)
    """Parity of a float32 graph with PyTorch: the largest difference of a logit."""
    max_logit_gap_share: float = Field(default=0.25, gt=0)
    """Parity of INT8 and fp16 graphs: the mean difference of a logit, as a share of the logits' standard deviation."""
    min_agreement: float = Field(default=0.9, ge=0, le=1)
    """Parity of INT8 and fp16 graphs: the share of the items that get the label that PyTorch gives."""


class QualityGate(_Table):
    """What may be lost on the holdout, in shares; None is not held against anything.

    Labels with fewer than `min_recall_items` items in the holdout are left out of the recall: one item would decide.
    """

    max_accuracy_drop: float | None = Field(default=0.01, ge=0, le=1)
    max_macro_f1_drop: float | None = Field(default=0.03, ge=0, le=1)
    max_recall_drop: float | None = Field(default=0.05, ge=0, le=1)
    min_recall_items: int = Field(default=30, ge=1)


class Quality(_Table):
    """The quality gates: expert and screen against the teacher, the cascade against the expert."""

    expert: QualityGate = QualityGate()
    # A screen may lose more: what it is unsure of goes to the expert, and the cascade has a gate of its own.
    screen: QualityGate = QualityGate(max_accuracy_drop=0.2, max_macro_f1_drop=0.25, max_recall_drop=0.5)
    cascade: QualityGate = QualityGate()


class OperatingPointRecipe(_Table):
    """The promise that the deferral threshold is chosen for (see optimize.judge.operating_point)."""

    alpha: float = Field(default=0.01, gt=0, lt=1)
    """At most this share of all requests may get another answer than the expert's because the screen was trusted."""
    delta: float = Field(default=0.05, gt=0, lt=1)
    """How often that may turn out false."""
    max_escalation_share: float = Field(default=1.0, ge=0, le=1)
    """Rather than escalate more than this, no promise is given."""


class Search(_Table):
    """Which screens to try, for how long, and what the chosen one must hold on the selection set.

    `space` names fields of the screen's steps and the values to try for each: "distill.layers" = [[0, 5], [5]].
    """

    space: dict[str, tuple[Any, ...]] = Field(min_length=1)
    trials: int = Field(default=12, ge=1)
    time_budget_s: float = Field(default=1200, gt=0)
    """No new trial starts after this."""
    max_accuracy_drop: float = Field(default=0.005, ge=0, le=1)
    """Against the teacher."""
    caution: float = Field(default=1.0, ge=0)
    """How many standard errors of the screen's accuracy are added to what it lost: the best of many trials on one
    selection set looks better than it is."""
    min_speedup: float = Field(default=1.0, ge=0)
    """Against the teacher in PyTorch, at batch size 1."""


class Goals(_Table):
    """What the run is meant to reach on the holdout; a run that falls short says so and publishes what it has."""

    screen_min_speedup: float | None = None
    screen_max_drop_points: float | None = None
    expert_min_speedup: float | None = None
    expert_max_drop_points: float | None = None
    cascade_max_drop_points: float | None = None
    cascade_max_escalation_points: float | None = None


class Recipe(_Table):
    """A cascade, from checkpoint to published pair. Steps are carried out in the order they are written in."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    task: Literal["text", "image"]
    description: str = ""
    seed: int = Field(default=0, ge=0)
    checkpoint: CheckpointConfig
    data: DataConfig
    text: TextRecipe = TextRecipe()
    image: ImageSettings | None = None
    teacher: tuple[FineTuneConfig, ...] = Field(default=(), max_length=1)
    expert: tuple[StepConfig, ...]
    screen: tuple[StepConfig, ...]
    gates: Gates = Gates()
    quality: Quality = Quality()
    operating_point: OperatingPointRecipe = OperatingPointRecipe()
    search: Search | None = None
    goals: Goals = Goals()

    @model_validator(mode="after")
    def _steps_make_sense(self) -> Recipe:
        for role, steps in (("expert", self.expert), ("screen", self.screen)):
            names = [step.step for step in steps]
            if names != sorted(names, key=_ORDER.__getitem__) or names.count("export") != 1:
                raise ValueError(
                    f"{role}: steps must come in the order distill, prune, export, fuse/quantize, with one export; "
                    f"got {', '.join(names) or 'none'}"
                )
            if len(names) != len({(step.step, getattr(step, "precision", "")) for step in steps}):
                raise ValueError(f"{role}: a step stands twice; got {', '.join(names)}")
        for name, values in (self.search.space if self.search else {}).items():
            for value in values:
                with_choices(self.screen, {name: value})
        if self.task == "text":
            trainings = (*self.teacher, *self.expert, *self.screen)
            asked = {key for step in trainings for key in ("crop", "flip", "mixup") if getattr(step, key, False)}
            if asked:
                raise ValueError(f"{', '.join(sorted(asked))}: views are for images; leave it out of a text recipe")
        if self.task == "image" and self.image is None:
            raise ValueError("image: an image recipe needs the table [image] with width, height, mean and std")
        return self

    @property
    def distillations(self) -> list[DistillConfig]:
        """The distill steps of both roles, with every choice that a search may make."""
        space = self.search.space if self.search else {}
        tried = [with_choices(self.screen, {name: value}) for name, values in space.items() for value in values]
        return [
            step for steps in (self.expert, self.screen, *tried) for step in steps if isinstance(step, DistillConfig)
        ]

    @property
    def digest(self) -> str:
        """sha256 of what the recipe says, whatever its layout and comments."""
        return digest_of(self.model_dump(mode="json"))


def with_choices(steps: tuple[StepConfig, ...], choices: Mapping[str, Any]) -> tuple[StepConfig, ...]:
    """The steps with the fields that `choices` names ("step.field") set; a prune step that prunes nothing goes.

    Raises ValueError when there is no such step or field, or the value is not one for it.
    """
    changed = []
    names = {step.step for step in steps}
    for name in choices:
        if name.partition(".")[0] not in names:
            raise ValueError(
                f"search.space: {name!r} must be STEP.FIELD of a step of the screen; it has {', '.join(names)}"
            )
    for step in steps:
        own = {name.partition(".")[2]: value for name, value in choices.items() if name.startswith(f"{step.step}.")}
        try:
            changed.append(type(step).model_validate({**step.model_dump(exclude_unset=True), **own}) if own else step)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join([step.step, *map(str, first["loc"])])
            raise ValueError(f"search.space: {field}: {first['msg']}, got {first['input']!r}") from None
    return tuple(step for step in changed if not (isinstance(step, PruneConfig) and step.prunes_nothing))


def read_steps(described: list[Any]) -> tuple[StepConfig, ...]:
    """Steps from JSON values, as a manifest keeps them."""
    return TypeAdapter(tuple[StepConfig, ...]).validate_python(described)


def without_control(steps: tuple[StepConfig, ...]) -> tuple[StepConfig, ...]:
    """The same steps, and nothing trained beside them."""
    return tuple(s.model_copy(update={"control": False}) if isinstance(s, DistillConfig) else s for s in steps)


def with_promise(config: OperatingPointRecipe, **changes: float | None) -> OperatingPointRecipe:
    """`config` with other figures where they are given; RecipeError when one makes no sense."""
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return OperatingPointRecipe.model_validate({**config.model_dump(), **given})
    except ValidationError as error:
        raise RecipeError("\n".join(_sentence(Path("operating-point"), item) for item in error.errors())) from None


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def digest_below(path: Path) -> str:
    """sha256 over a file, or over all files of a folder; a changed checkpoint is another checkpoint."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return digest_of([[file.relative_to(path.parent).as_posix(), sha256_of(file)] for file in files])


def steps_up_to(steps: tuple[StepConfig, ...], until: str | None) -> tuple[StepConfig, ...]:
    """The steps up to and with the last one named `until`; none where there is no such step, all without `until`."""
    if until is None:
        return steps
    last = max((place for place, step in enumerate(steps, start=1) if step.step == until), default=0)
    return steps[:last]


def read_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name or any recipe by path; RecipeError names the rule, the value and the remedy."""
    path = shipped_recipes().get(name_or_path, Path(name_or_path))
    if not path.is_file():
        close = difflib.get_close_matches(name_or_path, shipped_recipes(), n=1)
        raise RecipeError(
            f"{name_or_path}: no such recipe{f' (did you mean {close[0]}?)' if close else ''}; give the path of a "
            f".toml file or one of {', '.join(shipped_recipes())}"
        )
    try:
        return Recipe.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not TOML: {error}; see `python -m optimize show demo-text` for one") from None
    except ValidationError as error:
        raise RecipeError("\n".join(_sentence(path, item) for item in error.errors())) from None


def _sentence(path: Path, item: Any) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the recipe"
    value = item["input"]
    if item["type"] == "extra_forbidden":
        return f"{path}: {where}: there is no such key (its value was {value!r}); remove it or mend its spelling"
    rule = item["msg"].removeprefix("Value error, ")
    example = "demo-image" if "image" in (where, rule.partition(":")[0]) else "demo-text"
    if item["type"] == "missing":
        return f"{path}: {where}: this key is needed and is missing; add it"
    shown = "" if isinstance(value, dict | list | tuple) else f", got {value!r} ({type(value).__name__})"
    return f"{path}: {where}: {rule}{shown}; see `python -m optimize show {example}` for a recipe that works"
