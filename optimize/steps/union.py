"""The registered steps as types of a recipe's fields: a table becomes the step that its key `step` names."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from optimize.steps.registry import STEPS
from optimize.steps.step import Step


def step_classes(*, of_teacher: bool) -> dict[str, type[Step]]:
    """The registered steps by name: those that make the teacher, or those of expert and screen."""
    loaded = {name: _load(path) for name, path in STEPS.items()}
    return {name: step for name, step in loaded.items() if step.of_teacher == of_teacher}


def _load(path: str) -> type[Step]:
    module, _, name = path.rpartition(".")
    step: type[Step] = getattr(importlib.import_module(module), name)
    assert issubclass(step, Step), f"{path} is not a step"
    return step


@dataclass(frozen=True)
class _OneOf:
    """Validates as pydantic's discriminated union of the registered steps."""

    of_teacher: bool

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        steps = step_classes(of_teacher=self.of_teacher)
        schemas = {name: handler.generate_schema(step) for name, step in steps.items()}
        if len(schemas) == 1:  # without a tag in the places that errors name
            return next(iter(schemas.values()))
        return core_schema.tagged_union_schema(schemas, discriminator="step")


TeacherStep = Annotated[Step, _OneOf(of_teacher=True)]
StageStep = Annotated[Step, _OneOf(of_teacher=False)]
"""A step of the expert or the screen."""
