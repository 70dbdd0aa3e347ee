"""API keys: a file says whose they are, what they may do, and how many requests a second they may send.

The file holds a digest of each key and no key. A key has 256 random bits, so nobody finds it from its SHA-256 by
trying, and a slow hash as for passwords would only slow down requests. TOML, as the settings are: people write this
file, with comments, and one more key is a few lines at its end.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import os
import re
import secrets
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from serving.errors import SettingsError
from serving.load.rate import Rate

Right = Literal["classify", "high-priority", "feedback", "metrics", "admin"]
RIGHTS: tuple[Right, ...] = get_args(Right)
NOBODY, OPERATOR = "none", "operator"
"""Names of no key in a file: of requests without a key that is known, and of SIEVE_ADMIN_KEY."""
SCOPE_KEY = "sieve.key"
"""Key of an ASGI scope: the `Key` that the request brought. Only the gate sets it."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NAME_RULE = f"must be 1 to 63 of a-z, 0-9, '.', '_' and '-', and neither {NOBODY} nor {OPERATOR}"
BITS = 256
# Scanners for secrets find it by this in a commit.
PREFIX = "sieve_"
# So many bytes of a digest find its entry. How long that takes tells nothing of a key, and the rest is compared in
# constant time.
START_BYTES = 8

logger = logging.getLogger("sieve")
# BentoML shows what its own loggers say, and of others only warnings.
shown = logging.getLogger("bentoml.sieve")


class Entry(BaseModel):
    """What the file says of one key. Without `requests_per_second` the key has no rate of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    digest: Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
    rights: Annotated[list[Right], Field(min_length=1)]
    requests_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


ENTRIES = TypeAdapter(dict[str, Entry])


class Key:
    """A key that is known: its `name`, the `digest` of its characters, its `rights`, and its `rate` if it has one."""

    def __init__(self, name: str, digest: bytes, rights: Iterable[Right], rate: Rate | None = None) -> None:
        self.name, self.digest, self.rights, self.rate = name, digest, frozenset(rights), rate


class Keys:
    """Finds the key that a request brings."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_start = {key.digest[:START_BYTES]: key for key in keys}

    def find(self, sent: str) -> Key | None:
        """The key with these characters, None if there is none."""
        digest = digest_of(sent)
        key = self._by_start.get(digest[:START_BYTES])
        return key if key is not None and hmac.compare_digest(key.digest, digest) else None


class KeysFile:
    """The keys of a file, and `more` beside them. Raises SettingsError if the file cannot be read.

    This process gives each key the part `share` of its rate.
    """

    def __init__(self, path: Path, share: float = 1.0, more: Iterable[Key] = ()) -> None:
        self._path, self._share, self._more = path, share, list(more)
        self._seen = self._stamp()
        self._keys = Keys([*read_keys(path, share), *self._more])

    def find(self, sent: str) -> Key | None:
        """The key with these characters, None if there is none."""
        return self._keys.find(sent)

    def look(self) -> None:
        """Read the file again if it has changed. The keys before it go on while it cannot be read."""
        seen = self._stamp()
        if seen == self._seen:
            return
        self._seen = seen  # first: what is wrong is logged once
        try:
            self._keys = Keys([*read_keys(self._path, self._share), *self._more])
        except SettingsError as error:
            logger.error("%s. The keys that were read before go on", error)
        else:
            shown.info("the keys of %s have changed; the new ones count from now on", self._path)

    def _stamp(self) -> tuple[int, int, int] | None:
        """What changes when the file does, also where Kubernetes replaces the folder of a Secret; None without it."""
        try:
            about = os.stat(self._path)
        except OSError:
            return None
        return about.st_mtime_ns, about.st_size, about.st_ino


def digest_of(key: str) -> bytes:
    """The digest of the characters of a key."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def read_keys(path: Path, share: float = 1.0) -> list[Key]:
    """The keys of a file, with the part `share` of their rates. Raises SettingsError if it breaks a rule."""
    try:
        entries = ENTRIES.validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: keys must be a file that can be read, got {type(error).__name__}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: keys must be TOML, got {_kind(error)}; mend it") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SettingsError(
            f"{path}: {where}: {first['msg']}, got something else; mend it, or make the entry anew with "
            "`python -m serving new-key NAME`"
        ) from None
    return list(_checked(path, entries, share))


def _checked(path: Path, entries: dict[str, Entry], share: float) -> Iterator[Key]:
    if not entries:
        # An editor may empty a file before it writes it.
        raise SettingsError(f"{path}: must have a key, got none; make one with `python -m serving new-key NAME`")
    owners: dict[str, str] = {}
    for name, entry in entries.items():
        if not is_name(name):
            raise SettingsError(f"{path}: the name of a key {NAME_RULE}, got another one; change it")
        other = owners.setdefault(entry.digest, name)
        if other != name:
            raise SettingsError(f"{path}: each key must have one name, got the same digest for {other} and {name}")
        per_s = entry.requests_per_second
        rate = None if per_s is None else Rate(per_s * share)
        yield Key(name, bytes.fromhex(entry.digest.partition(":")[2]), entry.rights, rate)


def is_name(name: str) -> bool:
    """Whether a key may have this name, which becomes the value of a label of metrics."""
    return NAME.fullmatch(name) is not None and name not in (NOBODY, OPERATOR)


def new_key(name: str, rights: Iterable[Right], requests_per_second: float | None = None) -> tuple[str, str]:
    """A new key, and its entry for the file. Raises SettingsError if it breaks a rule of the file."""
    if not is_name(name):
        raise SettingsError(f"the name of a key {NAME_RULE}, got another one; choose another")
    if requests_per_second is not None and not 0 < requests_per_second < math.inf:
        raise SettingsError("requests_per_second must be above 0, got another number; leave it out for no limit")
    key = PREFIX + secrets.token_urlsafe(BITS // 8)
    stated = ", ".join(f'"{right}"' for right in rights)
    # A name with a dot would be two names in TOML.
    lines = [f'["{name}"]', f'digest = "sha256:{digest_of(key).hex()}"', f"rights = [{stated}]"]
    if requests_per_second is not None:
        lines.append(f"requests_per_second = {requests_per_second:g}")
    return key, "\n".join(lines) + "\n"


def _kind(error: Exception) -> str:
    """What is wrong with a file, without a part of it."""
    if isinstance(error, tomllib.TOMLDecodeError):
        place = re.search(r"\(at (line \d+, column \d+|end of document)\)", str(error))
        return f"something else ({place[1]})" if place else "something else"
    return "bytes that are not UTF-8"
