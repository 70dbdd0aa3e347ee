"""A recipe: the TOML file that describes one cascade, validated as a whole when it is read."""

from __future__ import annotations

import difflib
import itertools
import reprlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import ErrorDetails

from optimize.bounds import Gates as Gates
from optimize.bounds import OperatingPointRecipe as OperatingPointRecipe
from optimize.bounds import Quality as Quality
from optimize.bounds import QualityGate as QualityGate
from optimize.data.readers import DataConfig
from optimize.errors import RecipeError
from optimize.models.checkpoint import FOR_IMAGES, WITHOUT_IMAGE_SETTINGS, CheckpointConfig
from optimize.models.class_weights import require_labels
from optimize.models.distillation import DistillationConfig
from optimize.models.saved import Task
from optimize.models.training import TrainingConfig
from optimize.recipes.shipped import shipped_recipes
from optimize.results import STAGES, Stage, digest_of
from optimize.steps.step import Step
from optimize.steps.union import StageStep, TeacherStep, step_classes
from serving.model.artifact import ImageSettings, LongTexts


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextRecipe(_Table):
    """How many tokens of a text a model takes, and what becomes of longer texts."""

    max_tokens: int = Field(default=128, ge=2, le=512)
    # A default is left out of the recipe's digest, which then is that of a recipe without the field.
    long_texts: LongTexts = Field(default="cut", exclude_if="cut".__eq__)
    """`cut` takes the start of a longer text, `windows` up to 8 windows over all of it. Trainings take the start."""
    watch: str | None = Field(default=None, exclude_if=lambda label: label is None)
    """A label whose strongest window answers for a text; without one the mean of the windows' logits does."""

    @model_validator(mode="after")
    def _watches_windows(self) -> TextRecipe:
        if self.watch is not None and self.long_texts != "windows":
            raise ValueError('watch needs long_texts = "windows"; add it, or leave watch out')
        return self


class Search(_Table):
    """The screens to try, the time to spend, and what the chosen one must reach on the selection set.

    `space` names fields of the screen's steps and the values to try: "distill.layers" = [[0, 5], [5]].
    """

    space: dict[str, tuple[Any, ...]] = Field(min_length=1)
    trials: int = Field(default=12, ge=1)
    time_budget_s: float = Field(default=1200, gt=0)
    """No new trial starts after this time."""
    max_accuracy_drop: float = Field(default=0.005, ge=0, le=1)
    """Against the teacher."""
    caution: float = Field(default=1.0, ge=0)
    """Standard errors of the screen's accuracy to add to its loss: the best of many trials on one selection set looks
    better than it is."""
    min_speedup: float = Field(default=1.0, ge=0)
    """Against the teacher as it was brought, at batch size 1."""


class Goals(_Table):
    """Figures to reach on the holdout. A run that misses one reports it and publishes all the same."""

    screen_min_speedup: float | None = None
    screen_max_drop_points: float | None = None
    expert_min_speedup: float | None = None
    expert_max_drop_points: float | None = None
    cascade_max_drop_points: float | None = None
    cascade_max_escalation_points: float | None = None


class Recipe(_Table):
    """A cascade, from checkpoint to published pair. Steps run in the order in which they are written."""

    name: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    task: Task
    description: str = ""
    seed: int = Field(default=0, ge=0)
    checkpoint: CheckpointConfig
    data: DataConfig
    text: TextRecipe = TextRecipe()
    image: ImageSettings | None = None
    teacher: tuple[TeacherStep, ...] = Field(default=(), max_length=1)
    expert: tuple[StageStep, ...]
    screen: tuple[StageStep, ...]
    gates: Gates = Gates()
    quality: Quality = Quality()
    operating_point: OperatingPointRecipe = OperatingPointRecipe()
    search: Search | None = None
    goals: Goals = Goals()

    @model_validator(mode="after")
    def _steps_make_sense(self) -> Recipe:
        for stage in STAGES:
            _require_order(stage, self.steps_of(stage), self.task)
        for name, values in (self.search.space if self.search else {}).items():
            for value in values:
                with_choices(self.screen, {name: value})
        if self.task == "text":
            steps = (*self.teacher, *self.expert, *self.screen)
            asked = {view for step in steps if isinstance(step, TrainingConfig) for view in step.image_views}
            if asked:
                raise ValueError(f"{', '.join(sorted(asked))}: views are for images; leave it out of a text recipe")
            if self.checkpoint.source in FOR_IMAGES:
                raise ValueError(f"checkpoint: the source {self.checkpoint.source} is for images; name a text encoder")
        for steps in self.possible_stages:
            _require_students(steps, self.task, of_graph=self.checkpoint.source == "onnx")
        if self.data.pairs and self.task == "image":
            raise ValueError("data.text_pair_column: pairs are of texts; leave it out of an image recipe")
        if self.data.pairs and self.text.long_texts == "windows":
            raise ValueError(
                "text.long_texts: windows over two texts would show the model parts that do not belong together; leave "
                "it out where data.text_pair_column is set: the longer text of a pair is cut"
            )
        if self.data.labels == "teacher" and self.teacher:
            raise ValueError(
                'data: labels = "teacher" takes the answers of a head that is trained, and [[teacher]] would train it '
                "without labels; leave [[teacher]] out, or bring labelled rows"
            )
        if self.checkpoint.source == "onnx" and self.teacher:
            raise ValueError(
                "teacher: nothing in an ONNX file can be trained; leave [[teacher]] out, or bring the checkpoint in "
                "PyTorch that the file was exported from"
            )
        if self.task == "image" and self.image is None and self.checkpoint.source in WITHOUT_IMAGE_SETTINGS:
            raise ValueError(
                "image: an image recipe whose checkpoint brings no settings for images needs the table [image] with "
                "width, height, mean and std"
            )
        return self

    def steps_of(self, stage: Stage) -> tuple[Step, ...]:
        """The steps of the expert or the screen."""
        return self.expert if stage == "expert" else self.screen

    @property
    def possible_stages(self) -> list[tuple[Step, ...]]:
        """The steps of the expert and of the screen, and the screen's again with every choice a search may make."""
        space = self.search.space if self.search else {}
        tried = [with_choices(self.screen, {name: value}) for name, values in space.items() for value in values]
        return [self.expert, self.screen, *tried]

    @property
    def possible_steps(self) -> list[Step]:
        """The steps of `possible_stages`, one after the other."""
        return list(itertools.chain(*self.possible_stages))

    def require_labels(self, labels: tuple[str, ...]) -> None:
        """Raise StepError when class weights, a gate or a promise name a label that the data does not have."""
        for step in (*self.teacher, *self.possible_steps):
            if isinstance(step, TrainingConfig):
                require_labels("class_weights", step.class_weights, labels)
        for name, gate in self.quality:
            require_labels(f"quality.{name}.watch_labels", gate.watch_labels, labels)
        require_labels("operating_point.labels", self.operating_point.named_labels, labels)

    @property
    def digest(self) -> str:
        """sha256 of the recipe's content, independent of its layout and comments."""
        return digest_of(self.model_dump(mode="json"))


def _require_order(stage: Stage, steps: Sequence[Step], task: Task) -> None:
    names = [step.step for step in steps]
    if names != [step.step for step in sorted(steps, key=lambda step: step.place)] or names.count("export") != 1:
        raise ValueError(
            f"{stage}: steps must come in the order {_order()}, with one export; got {', '.join(names) or 'none'}"
        )
    results = [each.name for step in steps for each in (step, *step.companions(stage, task))]
    if len(set(results)) != len(results):
        raise ValueError(f"{stage}: a step stands twice; got {', '.join(names)}")


def _require_students(steps: Sequence[Step], task: Task, *, of_graph: bool) -> None:
    """Raise ValueError for a student from a checkpoint for images in a text recipe, or hidden states to compare."""
    own = "this stage starts from a checkpoint of its own, whose states mean other things"
    unrelated, reason = of_graph, "an ONNX file gives none" if of_graph else own
    for step in steps:
        source = step.starts_from
        if source is not None and task == "text" and source.source in FOR_IMAGES:
            raise ValueError(
                f"{step.step}: the student's source {source.source} is for images; name a text encoder, "
                'student = { source = "folder", path = "..." }'
            )
        unrelated |= step.is_unrelated
        if not unrelated or not isinstance(step, DistillationConfig):
            continue
        if step.hidden_weight and "hidden_weight" in step.model_fields_set:
            raise ValueError(
                f"{step.step}: hidden_weight compares hidden states with the teacher's, and {reason}; leave it out"
            )


def _order() -> str:
    """The stages' steps in their order; a slash stands between steps of the same place."""
    ordered = sorted(step_classes(of_teacher=False).items(), key=lambda entry: entry[1].place)
    places = itertools.groupby(ordered, key=lambda entry: entry[1].place)
    return ", ".join("/".join(name for name, _ in entries) for _, entries in places)


def with_choices(steps: Sequence[Step], choices: Mapping[str, Any]) -> tuple[Step, ...]:
    """The steps with the fields set that `choices` names ("step.field"), without those that then do nothing.

    Raises ValueError when there is no such step or field, or when the field does not take the value.
    """
    changed: list[Step] = []
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
    return tuple(step for step in changed if not step.does_nothing)


def read_steps(described: Iterable[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Steps of expert or screen from the JSON values that a manifest keeps."""
    return TypeAdapter(tuple[StageStep, ...]).validate_python(described)


def with_promise(config: OperatingPointRecipe, **changes: float | None) -> OperatingPointRecipe:
    """`config` with the figures that are not None. Raises RecipeError when one is out of range."""
    given = {name: value for name, value in changes.items() if value is not None}
    try:
        return OperatingPointRecipe.model_validate({**config.model_dump(), **given})
    except ValidationError as error:
        raise RecipeError("\n".join(_sentence(Path("operating-point"), item) for item in error.errors())) from None


def steps_up_to(steps: tuple[Step, ...], until: str | None) -> tuple[Step, ...]:
    """The steps up to and including the last one named `until`; none without such a step, all when `until` is None."""
    if until is None:
        return steps
    last = max((place for place, step in enumerate(steps, start=1) if step.step == until), default=0)
    return steps[:last]


def read_recipe(name_or_path: str) -> Recipe:
    """Read a shipped recipe by its name, or any recipe by its path.

    Raises RecipeError, with a sentence for each mistake: the rule, the value and the remedy.
    """
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


def _sentence(path: Path, item: ErrorDetails) -> str:
    where = ".".join(str(part) for part in item["loc"]) or "the recipe"
    value = item["input"]
    short = reprlib.repr(value)
    if item["type"] == "extra_forbidden":
        return f"{path}: {where}: there is no such key (its value was {short}); remove it or mend its spelling"
    rule = item["msg"].removeprefix("Value error, ")
    example = "demo-image" if "image" in (where, rule.partition(":")[0]) else "demo-text"
    if item["type"] == "missing":
        return f"{path}: {where}: this key is needed and is missing; add it"
    shown = "" if isinstance(value, dict | list | tuple) else f", got {short} ({type(value).__name__})"
    return f"{path}: {where}: {rule}{shown}; see `python -m optimize show {example}` for a recipe that works"
