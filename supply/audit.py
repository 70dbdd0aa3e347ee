"""make audit: the known advisories of every pinned package, by pip-audit.

In: constraints.txt, supply/exceptions.toml and the database of OSV, or another one that speaks its protocol.
Out: build/audit.json. The status is 1 for an advisory without an exception, for an exception that has ended or that no
advisory needs, and where the audit itself fails. A database that cannot be reached is told of, and fails nothing unless
`--required` is given, as before a release.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tomllib
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from serving.model.artifact import write_json

ROOT = Path(__file__).parent.parent
OSV = "https://api.osv.dev/v1/query"
TIMEOUT_S = 15
HOW_LONG_S = 900


class AuditError(Exception):
    """The audit cannot be made, or not in full."""


class UnreachableError(AuditError):
    """The database of advisories does not answer."""


class Advice(BaseModel, extra="forbid", frozen=True):
    """An exception: an advisory that is let pass from the day `decided` until the day `until`."""

    id: str = Field(pattern=r"^[A-Z]+-[A-Za-z0-9-]+$")
    package: str = Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")
    reason: str = Field(min_length=20)
    decided: date
    until: date


@dataclass(frozen=True, slots=True)
class Found:
    """An advisory of a pinned package; `ids` are all its numbers."""

    package: str
    version: str
    ids: tuple[str, ...]
    fixed_in: tuple[str, ...]

    def __str__(self) -> str:
        mended = f"mended in {', '.join(self.fixed_in)}" if self.fixed_in else "not mended yet"
        return f"{self.package} {self.version}: {self.ids[0]} ({mended})"


def read_exceptions(path: Path) -> list[Advice]:
    """The exceptions of a file. Raises AuditError, which names the field, where one breaks a rule."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        if set(said) - {"exception"}:
            raise AuditError(f"{path.name}: must hold [[exception]] alone, got {', '.join(sorted(said))}; mend it")
        return [Advice.model_validate(each) for each in said.get("exception", [])]
    except tomllib.TOMLDecodeError as error:
        raise AuditError(f"{path.name}: must be TOML ({error}); mend it") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise AuditError(
            f"{path.name}: {where}: {first['msg']}, got {type(first['input']).__name__}; mend it"
        ) from None


def require_answer(url: str) -> None:
    """Raise UnreachableError unless the database answers a query."""
    query = json.dumps({"package": {"name": "pip", "ecosystem": "PyPI"}, "version": "0.1"}).encode()
    request = urllib.request.Request(url, query, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # nosec B310 # who calls names it
            json.load(response)
    except (OSError, ValueError) as error:
        raise UnreachableError(f"{url} does not answer as a database of advisories ({error})") from None


def ask(requirements: Path, url: str) -> list[Found]:
    """What pip-audit finds. Raises AuditError where it fails, or leaves a package out."""
    line = [sys.executable, "-m", "pip_audit", "--requirement", str(requirements), "--no-deps", "--disable-pip"]
    line += ["--vulnerability-service", "osv", "--osv-url", url, "--timeout", str(TIMEOUT_S)]
    line += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=HOW_LONG_S, check=False)
    try:
        return found_in(json.loads(done.stdout))
    except (ValueError, KeyError):
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise AuditError(f"pip-audit failed: {last[0]}") from None


def found_in(said: Any) -> list[Found]:
    """The advisories in pip-audit's own JSON. Raises AuditError for a package that it has left out."""
    left_out = [f"{each['name']} ({each['skip_reason']})" for each in said["dependencies"] if "skip_reason" in each]
    if left_out:
        raise AuditError(f"pip-audit has left out {', '.join(left_out)}; pin each of them exactly")
    return [
        Found(each["name"], each["version"], (one["id"], *one["aliases"]), tuple(one["fix_versions"]))
        for each in said["dependencies"]
        for one in each["vulns"]
    ]


def complaints(found: Sequence[Found], exceptions: Sequence[Advice], today: date) -> list[str]:
    """What has to be done, a sentence each; none where every advisory has an exception that holds."""
    said, used = [], set()
    for each in found:
        theirs = [one for one in exceptions if one.package == each.package and one.id in each.ids]
        used |= set(theirs)
        if not theirs:
            said.append(f"{each}: take a version without it, or write an exception with its reason")
        elif all(one.until < today for one in theirs):
            said.append(f"{each}: its exception has ended on {theirs[0].until}; decide anew")
    unused = [one for one in exceptions if one not in used]
    return said + [f"{one.package}: no advisory needs the exception {one.id}; remove it" for one in unused]


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m supply.audit", description="Advisories of the pinned packages")
    parser.add_argument("--requirements", type=Path, default=ROOT / "constraints.txt", help="exact pins")
    parser.add_argument("--exceptions", type=Path, default=ROOT / "supply" / "exceptions.toml")
    parser.add_argument("--osv-url", default=OSV, help="the database (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "audit.json")
    parser.add_argument("--required", action="store_true", help="fail where the database cannot be reached")
    given = parser.parse_args(words)
    try:
        exceptions = read_exceptions(given.exceptions)
        require_answer(given.osv_url)
        found = ask(given.requirements, given.osv_url)
    except UnreachableError as error:
        print(f"NOT AUDITED: {error}. No advisory was looked up.", file=sys.stderr)
        return 1 if given.required else 0
    except AuditError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    said = complaints(found, exceptions, date.today())
    given.out.parent.mkdir(parents=True, exist_ok=True)
    names = [{"package": each.package, "version": each.version, "ids": list(each.ids)} for each in found]
    write_json(given.out, {"on": date.today().isoformat(), "found": names, "to_do": said})
    print("\n".join(said) or f"audited: {len(found)} advisories, each with an exception")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
