"""Carry out a recipe in a build folder: every step's result has a key, and a result with an equal key is reused.

A key is made of the step's configuration, its input's key, the data, the seed and the versions of the libraries. Steps
write beside and then rename, so a result that exists is whole, whichever run or trial made it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout
from transformers import PreTrainedModel

from optimize.data.inputs import Prepared, Preparer
from optimize.data.rows import Rows
from optimize.data.splits import Split, SplitName, Splits, load_splits
from optimize.data.targets import LabelSet
from optimize.data.unlabelled import Labeller
from optimize.errors import StepError
from optimize.input_settings import image_settings
from optimize.intake import take_in
from optimize.kept import Kept
from optimize.models.checkpoint import source_digest
from optimize.models.fp16_range import ITEMS, too_large
from optimize.models.graph_model import recorded_precision
from optimize.models.in_openvino import in_openvino
from optimize.models.saved import save_model
from optimize.models.teacher_labels import own_labels, teacher_labels
from optimize.own_student import own_student
from optimize.progress import console, running
from optimize.recipe import Recipe, read_recipe, steps_up_to
from optimize.results import STAGES, Result, Role, Stage, digest_below, digest_of
from optimize.stage_inputs import StageInputs
from optimize.steps.step import Step, StepContext
from optimize.steps.union import step_classes
from optimize.versions import versions
from serving.model.artifact import ImageSettings, write_json
from serving.model.head import SOFTMAX, Sigmoid
from serving.model.runtimes import require_installed


class Build:
    """A recipe and its build folder. `root` is where the recipe's relative paths start."""

    def __init__(self, recipe: Recipe, *, root: Path, folder: Path) -> None:
        self.recipe, self.root, self.folder = recipe, root, folder
        self.recipe_digest = recipe.digest  # of the recipe as it was read, before a search changes its screen
        folder.mkdir(parents=True, exist_ok=True)
        self.kept = Kept(folder, recipe.name)
        self.lock: BaseFileLock | None = None
        self.results: list[Result] = []
        # The copies that `with_screen` makes share what follows.
        self._inputs = StageInputs(
            recipe,
            keep=self.kept.place,
            image=lambda: self.image,
            labels=lambda: self._labels,
            splits=lambda: self.splits,
        )
        self._holdout_reads: list[str] = []

    @classmethod
    def opened(cls, recipe: str, *, root: Path, folder: Path | None) -> Build:
        """The build of a recipe, by name or path, in `folder` or build/RECIPE, which stays locked while it is in use.

        Raises RecipeError, ProviderError when a runtime is not installed that the recipe measures, and StepError when
        another run is at work in the folder.
        """
        read = read_recipe(recipe)
        for runtime in read.gates.runtimes:
            require_installed(runtime)
        folder = folder or Path("build") / read.name
        build = cls(read, root=root, folder=folder)
        build.lock = FileLock(folder / ".lock", is_singleton=True)  # a process may open a build twice
        try:
            build.lock.acquire(timeout=0)
        except Timeout:
            raise StepError(f"another run is at work in {folder}; wait for it, or give a folder with --build") from None
        return build

    def with_screen(self, steps: tuple[Step, ...]) -> Build:
        """The same build with other steps for the screen; both share teacher, expert and data."""
        other = copy.copy(self)
        other.recipe = self.recipe.model_copy(update={"screen": steps})
        other.results = []
        return other

    def artifact_folder(self, role: str) -> Path:
        """Where the artifact of a role lies."""
        return self.folder / f"{self.recipe.name}-{role}"

    @property
    def point_folder(self) -> Path:
        """The artifact folder of the operating point."""
        return self.artifact_folder("operating-point")

    @cached_property
    def splits(self) -> Splits:
        """The recipe's data. Raises DataError, and StepError when it is not for the recipe's task."""
        labeller = Labeller(self._labels, self._answers) if self._labels_itself else None
        splits = load_splits(
            self.recipe.data, seed=self.recipe.seed, root=self.root, folder=self.folder, labeller=labeller
        )
        if splits.kind != self.recipe.task:
            raise StepError(f"recipe {self.recipe.name} is for {self.recipe.task} and its data holds {splits.kind}")
        self.recipe.require_labels(splits.labels)
        write_json(self.folder / "data.json", {**splits.describe(), "notes": list(splits.notes)})
        return splits

    @cached_property
    def image(self) -> ImageSettings | None:
        """How images become arrays: as the recipe says, or else as the checkpoint does; None for texts."""
        return image_settings(self.recipe, self.root)

    @property
    def _labels_itself(self) -> bool:
        """Whether the teacher gives the rows their labels."""
        return self.recipe.data.labels == "teacher"

    @cached_property
    def _labels(self) -> tuple[str, ...]:
        """The labels, which are known before the splits where the teacher labels the rows."""
        return own_labels(self.recipe.checkpoint, self.root) if self._labels_itself else self.splits.labels

    def _answers(self, rows: Rows) -> list[str] | list[LabelSet]:
        labels, head = self._labels, Sigmoid((0.0,) * len(self._labels)) if self.recipe.data.multi_label else SOFTMAX
        return teacher_labels(self.teacher, self.recipe.task, rows, self.preparer, labels, head, self.kept.place)

    @property
    def preparer(self) -> Preparer:
        """Serving's preprocessing; for texts with the teacher's tokeniser, which students made of it share."""
        return self._inputs.preparer(self.teacher.path)

    def preparer_of(self, result: Result) -> Preparer:
        """Serving's preprocessing for a result; for texts with the tokeniser of its own stage."""
        return self.preparer if result.inputs is None else self._inputs.preparer(result.inputs, of_student=True)

    def prepared(self, name: SplitName, result: Result | None = None) -> Prepared:
        """A split as arrays for a result, or else for the teacher.

        Raises StepError for the holdout, which only `read_holdout` reads.
        """
        return self._inputs.named(self.preparer if result is None else self.preparer_of(result), name)

    def prepared_for(self, result: Result, split: Split) -> Prepared:
        """A split that was read, which may be the holdout, as arrays for a result."""
        return self._inputs.prepared(self.preparer_of(result), split)

    def read_holdout(self) -> Split:
        """The holdout. Raises StepError the second time in a run: a set that is read again ends up being chosen for."""
        if self._holdout_reads:
            raise StepError("the holdout is read once a run, and was read before; report this")
        self._holdout_reads.append(self.recipe.name)
        return self.splits.holdout

    @cached_property
    def teacher(self) -> Result:
        """The checkpoint that the recipe names, fine-tuned where the recipe says so."""
        key = digest_of(
            [
                self.recipe.checkpoint.model_dump(mode="json"),
                source_digest(self.recipe.checkpoint, self.root),
                [step.key_fields() for step in self.recipe.teacher],
                # A teacher that labels the rows is there before the rows are known.
                [self._labels, self.recipe.task, self.recipe.data.multi_label, versions()]
                if self._labels_itself
                else self._data_key(),
            ]
        )
        name = self.recipe.teacher[-1].name if self.recipe.teacher else "checkpoint"
        result = Result("teacher", name, self._path("teacher", name, key), key)
        return replace(
            self._make(result, lambda: self._make_teacher(result)), precision=recorded_precision(result.path)
        )

    def taken_in(self) -> tuple[PreTrainedModel, Path | None]:
        """The untrained checkpoint, its tokeniser's folder (None for images). Raises CheckpointError, StepError."""
        return take_in(self.recipe, self._labels, self.image, root=self.root, keep=self.kept.place)

    def student_of(self, step: Step) -> Path | None:
        """The checkpoint of its own that a step starts from, taken in."""
        source = step.starts_from
        if source is None:
            return None
        return own_student(source, self.recipe, self._labels, self.image, root=self.root, keep=self.kept.place)

    def _make_teacher(self, result: Result) -> None:
        recipe, (model, tokenizer) = self.recipe, self.taken_in()
        if not recipe.teacher:
            save_model(model, result.path, tokenizer)
            return
        (step,) = recipe.teacher
        start = Result("teacher", "checkpoint", save_model(model, self.folder / "checkpoint", tokenizer), result.key)
        preparer = self._inputs.preparer(start.path)
        step.carry_out(start.path, result.path, self._context(start, start, preparer, start.path))

    def carry_out(self, until: str | None = None) -> list[Result]:
        """Carry out the recipe's steps: all, or for each role that has a step named `until` up to the last of them."""
        self.results = [self.teacher]
        if until in step_classes(of_teacher=True):
            return self.results
        steps = {stage: steps_up_to(self.recipe.steps_of(stage), until) for stage in STAGES}
        if not any(steps.values()):
            raise StepError(f"recipe {self.recipe.name} has no step {until!r}; add it to the expert or the screen")
        for stage in STAGES:
            source = self.teacher
            for step in steps[stage]:
                for companion in step.companions(stage, self.recipe.task):
                    try:
                        self._carry_out(companion, stage, source)
                    except StepError as error:
                        console.print(f"{stage}/{companion.name} is left out: {error}")
                result = self._carry_out(step, stage, source)
                self._remedy(step, stage, result, source)
                source = source if step.is_variant else result
            if until is None and "openvino" in self.recipe.gates.runtimes:
                self.results += in_openvino(self.graphs(stage))
        return self.results

    def graphs(self, stage: Stage) -> list[Result]:
        """The graphs of a stage, the plain export first."""
        return [result for result in self.results if result.role == stage and result.is_graph]

    def checkpoint_of(self, stage: Stage) -> Result:
        """The checkpoint that the graphs of a stage are exported from; companions stand before their step."""
        return [result for result in self.results if result.role in ("teacher", stage) and not result.is_graph][-1]

    def _remedy(self, step: Step, stage: Stage, result: Result, source: Result) -> None:
        """Carry out the step that mends a result in fp16, where items of the selection set show that it must be."""
        if (remedy := step.remedy) is not None and remedy not in self.recipe.steps_of(stage):
            items, preparer = self.prepared("selection", result), self.preparer_of(result)
            inputs = [preparer.collate([item]) for item in items.take(range(min(ITEMS, len(items))))]
            if too_large(result, source, inputs, self.recipe.gates.max_logit_gap_share):
                self._carry_out(remedy, stage, source)

    def _carry_out(self, step: Step, stage: Stage, source: Result) -> Result:
        """Make or reuse the result of one step, and add it to the results."""
        files = [digest_below(file) for file in step.files(self.root)]
        key = digest_of([source.key, stage, step.name, step.key_fields(), step.revision, files, self._data_key()])
        path = self._path(stage, step.name, key, suffix=".onnx" if step.graph_precision else "")
        student = self.student_of(step)
        inputs = student if step.is_unrelated else source.inputs
        # A checkpoint is in fp32, and so is its export; a ready graph is exported in its own precision.
        precision = source.precision if step.step == "export" else step.graph_precision
        result = Result(stage, step.name, path, key, precision or "fp32", inputs)
        checkpoint = self.checkpoint_of(stage).path

        def work() -> None:
            context = self._context(result, self.teacher, self.preparer, checkpoint, student)
            step.carry_out(source.path, result.path, context)

        self.results.append(self._make(result, work))
        return result

    def _context(
        self, result: Result, teacher: Result, of_teacher: Preparer, checkpoint: Path, student: Path | None = None
    ) -> StepContext:
        preparer = of_teacher if result.inputs is None else self.preparer_of(result)
        return StepContext(
            task=self.recipe.task,
            seed=self.recipe.seed,
            root=self.root,
            keep=self.kept.place,
            resume=self.folder / f"training-{result.key[:12]}.pt",
            splits=self.splits,
            preparer=preparer,
            prepare=partial(self._inputs.named, preparer),
            teacher=teacher,
            teacher_preparer=of_teacher,
            teacher_prepare=partial(self._inputs.named, of_teacher),
            checkpoint=checkpoint,
            student=student,
            related=result.inputs is None,
        )

    def _data_key(self) -> list[Any]:
        # Trainings take the start of a long text, whatever measurements and service do.
        settings = (self.image or self.recipe.text).model_dump(mode="json", exclude={"long_texts", "watch"})
        return [self.splits.describe(), settings, self.recipe.seed, self.recipe.task, versions()]

    def _path(self, role: Role, name: str, key: str, suffix: str = "") -> Path:
        return self.folder / role / f"{name}-{key[:12]}{suffix}"

    def _make(self, result: Result, make: Callable[[], object]) -> Result:
        if result.path.exists():
            console.print(f"{result.name}: reused")
            return result
        result.path.parent.mkdir(parents=True, exist_ok=True)
        begin = time.perf_counter()
        with running(result.name):
            make()
        console.print(f"{result.name}: made in {time.perf_counter() - begin:.0f} s, {result.size_bytes:,} bytes")
        return result
