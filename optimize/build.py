"""Carry out a recipe: each step reads what the one before it wrote, and is done once.

Everything lies in one build folder. A step's result is kept under a name that ends in a key, made of its
configuration, its input's key, the data, the seed and the versions of the libraries. Every step writes beside and then
renames, so a result that is there is whole, and a later run, or another trial, that comes to the same key reuses it.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoTokenizer

from optimize.data.inputs import Prepared, Preparer, collect, ordered_batches
from optimize.data.splits import Split, SplitName, Splits, load_splits
from optimize.errors import StepError
from optimize.models.checkpoint import CifarCheckpoint, fetch_model, load_model, local_source, save_model
from optimize.models.distillation import DistillationConfig, TeacherOutputs, distillation_loss
from optimize.models.training import train
from optimize.progress import console, running
from optimize.recipe import Recipe, StepConfig, digest_below, digest_of, steps_up_to
from optimize.results import ROLES, Precision, Result, Role
from optimize.steps.distill import DistillConfig, distill, make_student, require_fitting
from optimize.steps.export import ExportConfig, export
from optimize.steps.fine_tune import fine_tune
from optimize.steps.fuse import FuseConfig, fuse
from optimize.steps.prune import PruneConfig, prune
from optimize.steps.quantize import QuantizeConfig, quantize_dynamic, quantize_static
from optimize.versions import versions
from serving.model.artifact import TextSettings, write_json


class Build:
    """A recipe and its build folder. `root` is where the recipe's relative paths start."""

    def __init__(self, recipe: Recipe, *, root: Path, folder: Path) -> None:
        self.recipe, self.root, self.folder = recipe, root, folder
        self.recipe_digest = recipe.digest  # of the recipe as it was read, whatever a search chooses
        folder.mkdir(parents=True, exist_ok=True)
        self.results: list[Result] = []
        self._holdout_reads: list[str] = []  # shared by the copies that `with_screen` makes

    def with_screen(self, steps: tuple[StepConfig, ...]) -> Build:
        """The same build with other steps for the screen; teacher, expert and data are shared."""
        other = copy.copy(self)
        other.recipe = self.recipe.model_copy(update={"screen": steps})
        other.results = []
        return other

    @cached_property
    def splits(self) -> Splits:
        splits = load_splits(self.recipe.data, seed=self.recipe.seed, root=self.root)
        if splits.kind != self.recipe.task:
            raise StepError(f"recipe {self.recipe.name} is for {self.recipe.task} and its data holds {splits.kind}")
        write_json(self.folder / "data.json", splits.describe())
        return splits

    @cached_property
    def preparer(self) -> Preparer:
        """Serving's preprocessing; for texts with the teacher's tokeniser, which all students share."""
        return self._preparer(self.teacher.path)

    def _preparer(self, folder: Path) -> Preparer:
        if self.recipe.image is not None:
            return Preparer(self.recipe.image)
        positions = AutoConfig.from_pretrained(folder).max_position_embeddings
        if self.recipe.text.max_tokens > positions:
            raise StepError(
                f"text.max_tokens must be at most {positions}, the positions that the checkpoint knows, got "
                f"{self.recipe.text.max_tokens}; lower it"
            )
        pad = AutoTokenizer.from_pretrained(folder).pad_token_id
        inputs = ("input_ids", "attention_mask", "token_type_ids")
        settings = TextSettings(max_tokens=self.recipe.text.max_tokens, pad_token_id=pad, inputs=inputs)
        return Preparer(settings, folder)

    def prepared(self, name: SplitName) -> Prepared:
        """A split as arrays; the holdout is read by `read_holdout` alone."""
        if name == "holdout":
            raise StepError("the holdout is for the reported figures alone, and was asked for before; report this")
        return self.preparer.prepare(getattr(self.splits, name))

    def read_holdout(self) -> Split:
        """The holdout, once: what is looked at again and again ends up being chosen for."""
        if self._holdout_reads:
            raise StepError("the holdout is read once a run, and was read before; report this")
        self._holdout_reads.append(self.recipe.name)
        return self.splits.holdout

    def artifact_folder(self, role: str) -> Path:
        """Where the artifact of a role lies."""
        return self.folder / f"{self.recipe.name}-{role}"

    @property
    def point_folder(self) -> Path:
        """The artifact folder of the operating point."""
        return self.artifact_folder("operating-point")

    @cached_property
    def train_set(self) -> Prepared:
        return self.prepared("train")

    @cached_property
    def teacher(self) -> Result:
        """The checkpoint, fine-tuned where the recipe says so."""
        key = digest_of(
            [
                self.recipe.checkpoint.model_dump(mode="json"),
                self._source_digest(),
                [step.model_dump(mode="json") for step in self.recipe.teacher],
                self._data_key(),
            ]
        )
        result = self._result("teacher", "fine-tune" if self.recipe.teacher else "checkpoint", key)
        return self._make(result, lambda: self._make_teacher(result))

    def _make_teacher(self, result: Result) -> None:
        torch.manual_seed(self.recipe.seed)
        recipe = self.recipe
        model, tokenizer = fetch_model(
            recipe.checkpoint, recipe.task, self.splits.labels, self.root, fresh_head=bool(recipe.teacher)
        )
        # A student that cannot be made is told of before the teacher is trained.
        for step in (step for step in recipe.distillations if step.student is None):
            require_fitting(model.config, step)
        if recipe.teacher:
            start = save_model(model, self.folder / "checkpoint", tokenizer)
            preparer = self._preparer(start)
            (config,) = recipe.teacher
            model = fine_tune(
                model,
                config,
                data=preparer.prepare(self.splits.train),
                preparer=preparer,
                seed=recipe.seed,
                resume=self._resume_file(result.key),
            )
        save_model(model, result.path, tokenizer)

    def carry_out(self, until: str | None = None) -> list[Result]:
        """Carry out the recipe's steps: all, or for each role that has a step named `until` up to the last of them."""
        self.results = [self.teacher]
        if until == "fine-tune":
            return self.results
        steps = {role: steps_up_to(getattr(self.recipe, role), until) for role in ROLES}
        if not any(steps.values()):
            raise StepError(f"recipe {self.recipe.name} has no step {until!r}; add it to the expert or the screen")
        for role in ROLES:
            current = self.teacher
            for step in steps[role]:
                current = self._apply(role, current, step)
        return self.results

    def graphs(self, role: str) -> list[Result]:
        """The graphs of a role, the plain export first."""
        return [result for result in self.results if result.role == role and result.is_graph]

    def checkpoint_of(self, role: str) -> Result:
        """The checkpoint that the graphs of a role were exported from."""
        made = [result for result in self.results if result.role in ("teacher", role) and not result.is_graph]
        return [result for result in made if result.step != "control"][-1]

    def _apply(self, role: Role, source: Result, step: Any) -> Result:
        """Carry out one step and return what the next one starts from."""
        student = getattr(step, "student", None)
        weights = digest_below(self.root / student) if student else None
        # The control is made beside the student and changes nothing of it.
        described = step.model_dump(mode="json", exclude={"control"})
        key = digest_of([source.key, role, described, weights, self._data_key()])
        match step:
            case DistillConfig():
                if step.control:
                    plain = self._result(role, "control", digest_of([key, "control"]))
                    self.results.append(self._make(plain, lambda: self._distill(step, plain, followed=False)))
                result = self._result(role, "distill", key)
                self.results.append(self._make(result, lambda: self._distill(step, result, followed=True)))
                return result
            case PruneConfig():
                result = self._result(role, "prune", key)
                self.results.append(self._make(result, lambda: self._prune(step, source, result)))
                return result
            case ExportConfig():
                result = self._result(role, "export", key, "fp32")
                self.results.append(self._make(result, lambda: export(self._load(source), step, result.path)))
                return result
        return self._apply_to_graph(role, source, step, key)

    def _apply_to_graph(self, role: Any, source: Result, step: Any, key: str) -> Result:
        config = self._load(self.checkpoint_of(role)).config
        if isinstance(step, FuseConfig):
            result = self._result(role, f"fuse-{step.precision}", key, step.precision)
            self.results.append(self._make(result, lambda: fuse(source.path, config, step, result.path)))
        else:
            result = self._result(role, "quantize", key, "int8")
            self.results.append(self._make(result, lambda: self._quantize(step, source, result)))
        # Every graph step starts from the plain export: quantizing a fused BERT came out slower.
        return source

    def _distill(self, step: DistillConfig, result: Result, *, followed: bool) -> None:
        teacher = self._load(self.teacher)
        if step.student is not None:
            weights = CifarCheckpoint(source="cifar-state-dict", path=step.student)
            start, _ = fetch_model(weights, self.recipe.task, self.splits.labels, self.root, fresh_head=False)
            student = make_student(start, step) if step.depths else start
        else:
            student = make_student(teacher, step)
        student = distill(
            student,
            step,
            teacher_outputs=self._teacher_outputs(step) if followed else None,
            data=self.train_set,
            preparer=self.preparer,
            seed=self.recipe.seed,
            resume=self._resume_file(result.key),
        )
        self._save(student, result)

    def _prune(self, step: PruneConfig, source: Result, result: Result) -> None:
        seed, data, preparer = self.recipe.seed, self.train_set, self.preparer
        pruned = prune(self._load(source), step, data=data, preparer=preparer, seed=seed)
        recovered = train(
            pruned,
            data,
            preparer,
            step,
            loss=distillation_loss(self._teacher_outputs(step), step),
            seed=seed,
            title="recover",
            resume=self._resume_file(result.key),
            hidden_states=True,
        )
        self._save(recovered, result)

    def _quantize(self, step: QuantizeConfig, source: Result, result: Result) -> None:
        if self.recipe.task == "text":
            quantize_dynamic(source.path, result.path)
            return
        calibration, selection = self.prepared("calibration"), self.prepared("selection")
        batches = [np.stack(calibration.take(indices)) for indices in ordered_batches(calibration, 32)]

        @torch.no_grad()
        def accuracy(run: Callable[[torch.Tensor], torch.Tensor]) -> float:
            logits = collect(
                selection, 64, lambda indices: run(torch.from_numpy(np.stack(selection.take(indices)))).numpy()
            )
            return float((logits.argmax(axis=1) == selection.targets).mean())

        model = self._load(self.checkpoint_of(result.role))
        quantize_static(model, step, result.path, calibration=batches, accuracy=accuracy)

    def _teacher_outputs(self, step: DistillationConfig) -> TeacherOutputs:
        views = {"views": step.views, "crop": step.crop, "flip": step.flip, "mixup": step.mixup}
        key = digest_of([self.teacher.key, self.splits.train.digest, views, self.recipe.seed])
        kept = self.folder / f"teacher-outputs-{key[:12]}.npz"
        teacher = self._load(self.teacher)
        return TeacherOutputs.compute(teacher, self.train_set, self.preparer, step, self.recipe.seed, kept)

    def _load(self, result: Result) -> Any:
        return load_model(result.path, self.recipe.task)

    def _save(self, model: Any, result: Result) -> None:
        save_model(model, result.path, self.teacher.path if self.recipe.task == "text" else None)

    def _resume_file(self, key: str) -> Path:
        return self.folder / f"training-{key[:12]}.pt"

    def _data_key(self) -> Any:
        recipe = self.recipe
        settings = recipe.image or recipe.text
        return [self.splits.describe(), settings.model_dump(mode="json"), recipe.seed, recipe.task, versions()]

    def _source_digest(self) -> str | None:
        place = local_source(self.recipe.checkpoint, self.root)
        return digest_below(place) if place else None

    def _result(self, role: Role, step: str, key: str, graph: Precision | None = None) -> Result:
        """Where a step's result lies: a checkpoint folder, or with `graph` an ONNX file of that precision."""
        path = self.folder / role / f"{step}-{key[:12]}{'.onnx' if graph else ''}"
        return Result(role, step, path, key, graph or "fp32")

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
