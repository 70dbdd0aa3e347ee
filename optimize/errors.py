"""The errors of the pipeline. Each is a SieveError, whose text is written for users.

SieveError
├── RecipeError         a recipe that cannot be read or is not valid
├── DataError           data that is missing, cannot be read or breaks a rule of the splits
├── CheckpointError     a checkpoint that is missing, cannot be reached or has another architecture
├── StepError           a step that cannot be carried out as it is configured
├── SearchError         a search that found no screen
├── GateError           a result that missed a gate and is not published
├── ProfileError        a profile that cannot be taken as asked
├── RuntimesError       runtimes that cannot be compared as asked
├── ScoreError          a table that cannot be scored as asked
└── ExportError         a model repository that cannot be written as asked
"""

from __future__ import annotations

from serving.errors import SieveError


class RecipeError(SieveError):
    """A recipe cannot be read or is not valid."""


class DataError(SieveError):
    """Data is missing, cannot be read or breaks a rule of the splits."""


class CheckpointError(SieveError):
    """A checkpoint is missing, cannot be reached or has another architecture."""


class StepError(SieveError):
    """A step cannot be carried out as it is configured."""


class SearchError(SieveError):
    """A search found no screen."""


class GateError(SieveError):
    """A result missed a gate and is not published."""


class ProfileError(SieveError):
    """A profile cannot be taken as asked."""


class RuntimesError(SieveError):
    """Runtimes cannot be compared as asked."""


class ScoreError(SieveError):
    """A table cannot be scored as asked."""


class ExportError(SieveError):
    """A model repository cannot be written as asked."""
