"""Recipes: one TOML file a cascade, checked whole when it is read."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from optimize.checkpoint import CheckpointConfig
from optimize.data import DataConfig
from optimize.errors import RecipeError
from optimize.recipes import shipped_recipes
from optimize.steps.distill import DistillConfig
from optimize.steps.export import ExportConfig
from optimize.steps.fine_tune import FineTuneConfig
from optimize.steps.fuse import FuseConfig
from optimize.steps.prune import PruneConfig
from optimize.steps.quantize import QuantizeConfig
from serving.artifact import ImageSettings

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
    min_speedup: float = Field(default=1.0, ge=0)
    max_logit_gap: float = Field(default=1e-3, gt=0)
    """Parity of a float32 graph with PyTorch: the largest difference of a logit."""


class OperatingPointRecipe(_Table):
    """How much accuracy, against the expert's on the selection set, the cascade may lose by trusting the screen."""

    max_accuracy_drop: float = Field(default=0.0, ge=0, le=1)
    max_disagreement: float = Field(default=0.01, ge=0, le=1)


class Goals(_Table):
    """What the run is meant to reach on the holdout; a run that falls short says so and publishes what it has."""

    screen_min_speedup: float | None = None
    screen_max_drop_points: float | None = None
    expert_min_speedup: float | None = None
    expert_max_drop_points: float | None = None
    cascade_max_drop_points: float | None = None


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
    operating_point: OperatingPointRecipe = OperatingPointRecipe()
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
        if self.task == "image" and self.image is None:
            raise ValueError("image: an image recipe needs the table [image] with width, height, mean and std")
        return self

    @property
    def digest(self) -> str:
        """sha256 of what the recipe says, whatever its layout and comments."""
        return digest_of(self.model_dump(mode="json"))


def digest_of(value: Any) -> str:
    """sha256 of a JSON value, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def read_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by name or any recipe by path; RecipeError names the rule, the value and the remedy."""
    path = shipped_recipes().get(name_or_path, Path(name_or_path))
    if not path.is_file():
        raise RecipeError(
            f"{name_or_path}: no such recipe; give the path of a .toml file or one of {', '.join(shipped_recipes())}"
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
    if item["type"] == "missing":
        return f"{path}: {where}: this key is needed and is missing; add it"
    shown = "" if isinstance(value, dict | list | tuple) else f", got {value!r} ({type(value).__name__})"
    return f"{path}: {where}: {rule}{shown}; see `python -m optimize show demo-text` for a recipe that works"
