"""How the service uses a machine: processes, threads, batches, admission. `loadtest tune` writes these as TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.errors import SettingsError

MAX_BATCH_SIZE = 32


class Settings(BaseModel):
    """The values of a settings file.

    `workers` is the number of API processes, each with its own screens. `screen_threads` and `expert_threads` are ONNX
    Runtime threads for each session. `max_batch_size` limits the items of one call to an expert, `batch_window_ms` is
    how long an escalation waits for others to share its call, and `calls_in_flight` is how many calls of one API
    process an expert runs side by side, one on each of its machines. `max_in_flight` is the most requests that one API
    process has in flight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    workers: int = Field(default=1, ge=1, le=256)
    screen_threads: int = Field(default=1, ge=1, le=256)
    expert_threads: int = Field(default=1, ge=1, le=256)
    max_batch_size: int = Field(default=MAX_BATCH_SIZE, ge=1, le=MAX_BATCH_SIZE)
    batch_window_ms: float = Field(default=0.0, ge=0, le=100)
    calls_in_flight: int = Field(default=1, ge=1, le=16)
    max_in_flight: int = Field(default=256, ge=8, le=4096)


def settings_of(stated: str, folder: Path) -> Settings:
    """The settings of the file `stated`, relative to `folder`.

    If `stated` is empty: those of settings.toml in `folder` if it exists, else the defaults.
    """
    path = folder / (stated or "settings.toml")
    return read_settings(path) if stated or path.exists() else Settings()


def for_machines(settings: Settings, variables: Mapping[str, str]) -> Settings:
    """The settings, with SIEVE_CALLS_IN_FLIGHT in the place of `calls_in_flight` where the variable is set.

    How many machines an expert has differs between clusters that serve one image. Raises SettingsError if the variable
    breaks the setting's rule.
    """
    stated = variables.get("SIEVE_CALLS_IN_FLIGHT")
    if not stated:
        return settings
    try:
        return Settings.model_validate({**settings.model_dump(), "calls_in_flight": int(stated)})
    except ValueError:
        raise SettingsError(
            "SIEVE_CALLS_IN_FLIGHT: must be a whole number from 1 to 16, got something else; mend it or leave it out"
        ) from None


def read_settings(path: Path) -> Settings:
    """The settings of a TOML file, with defaults for what it leaves out.

    Raises SettingsError if it cannot be read or breaks a rule.
    """
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: settings must be a file that can be read, got {type(error).__name__}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: settings must be TOML, got something else ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        kind = type(first["input"]).__name__
        known = ", ".join(Settings.model_fields)
        raise SettingsError(
            f"{path}: {where}: {first['msg']}, got a value of type {kind}; mend it or leave it out (known: {known})"
        ) from None
