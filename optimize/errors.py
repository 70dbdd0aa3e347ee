"""The error tree of the pipeline; all of it is a SieveError, whose text is meant for a user's eyes.

SieveError
├── RecipeError         a recipe that cannot be read, or says something that makes no sense
├── DataError           data that is missing, cannot be read, or breaks a rule of the splits
├── CheckpointError     a checkpoint that is missing or of another architecture
├── StepError           a step that cannot be carried out as configured
├── SearchError         a search that came to nothing
├── GateError           a result that may not be published
└── ProfileError        something that cannot be profiled as it was asked for
"""

from __future__ import annotations

from serving.errors import SieveError


class RecipeError(SieveError):
    """A recipe cannot be read, or says something that makes no sense."""


class DataError(SieveError):
    """Data is missing, cannot be read, or breaks a rule of the splits."""


class CheckpointError(SieveError):
    """A checkpoint is missing, cannot be reached, or is of another architecture."""


class StepError(SieveError):
    """A step cannot be carried out as it is configured."""


class SearchError(SieveError):
    """A search came to nothing."""


class GateError(SieveError):
    """A result does not hold what it must, and is not published."""


class ProfileError(SieveError):
    """Something cannot be profiled as it was asked for."""
