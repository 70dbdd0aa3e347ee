"""The state of a promise in a small file that all API processes of a machine share, and that a restart finds again.

A change reads the file, adds to it and renames a new one into its place, under a lock: nobody reads half of it, and
nothing is counted twice or lost between processes. Where it cannot be written, what was counted waits in memory.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import orjson
from pydantic import TypeAdapter, ValidationError

from serving.audit.state import AuditState, Rule, Told

STATE = TypeAdapter(AuditState)
FOLDER = "sieve-audit"

logger = logging.getLogger("sieve")


def folder_of(stated: str, shared: Path | None) -> Path | None:
    """The folder that is `stated`, or FOLDER beside the one that the processes of a server share; None without both."""
    if stated:
        return Path(stated)
    return shared.parent / FOLDER if shared is not None else None


class SharedState:
    """The state of the promise `name`, a tag of the model store, in `folder`; None for this process alone.

    Raises nothing: where the file cannot be read or written, the log says so once and `unsaved` is true until it can.
    """

    def __init__(self, folder: Path | None, name: str, rule: Rule) -> None:
        self._path = folder / f"{name.replace(':', '@')}.json" if folder is not None else None
        self.name, self._rule = name, rule
        self._turn = threading.Lock()
        self._waiting: list[Told] = []
        self._known = AuditState()
        self.unsaved = False

    def update(self, told: Told) -> AuditState:
        """The state with what this process has counted since the last update. Takes its time; any thread may call."""
        with self._turn:
            return self._update(told)

    def _update(self, told: Told) -> AuditState:
        if told:
            self._wait(told)
        if self._path is None:
            if self._waiting:
                self._known = self._added(deepcopy(self._known))
                self._waiting.clear()
            return self._known
        try:
            if self._waiting:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                with _locked(self._path.with_suffix(".lock")):
                    state = self._added(_read(self._path))
                    _write(self._path, state)
            else:
                state = _read(self._path)
        except OSError as error:
            return self._unsaved(error)
        self._waiting.clear()
        if self.unsaved:
            self.unsaved = False
            logger.warning("the audit of %s is saved again, with all that was counted meanwhile", self.name)
        self._known = state
        return state

    def _wait(self, told: Told) -> None:
        if self._waiting and self._waiting[-1].life == told.life:
            self._waiting[-1].add(told)
        else:
            self._waiting.append(told)

    def _added(self, state: AuditState) -> AuditState:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        for told in self._waiting:
            state.add(told, self._rule, now)
        return state

    def _unsaved(self, error: OSError) -> AuditState:
        if not self.unsaved:
            self.unsaved = True
            logger.error(
                "the audit of %s must be saved, and its file cannot be read or written (%s); it goes on in memory, and "
                "a restart would forget what is counted meanwhile; make room or mend the folder of audit_folder",
                self.name,
                error.strerror or type(error).__name__,
            )
        return self._added(deepcopy(self._known))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(path: Path) -> AuditState:
    """The state in a file; a new one where there is none, or one that is damaged, which is put aside."""
    try:
        return STATE.validate_json(path.read_bytes())
    except FileNotFoundError:
        return AuditState()
    except ValidationError:
        aside = path.with_suffix(".damaged")
        path.replace(aside)
        logger.error("%s is no state of an audit; it is put aside as %s, and the audit begins anew", path, aside.name)
        return AuditState()


def _write(path: Path, state: AuditState) -> None:
    beside = path.with_suffix(f".{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(orjson.dumps(STATE.dump_python(state, mode="json"), option=orjson.OPT_NON_STR_KEYS))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
