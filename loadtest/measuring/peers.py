"""Servers around the same model, one at a time: each is started, warmed up, measured and ended, and then the next."""

from __future__ import annotations

import contextlib
import json
import shlex
import subprocess
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast, get_args

from loadtest.errors import ContenderError, NotStartedError
from loadtest.measuring.contender import Contender, Subject
from loadtest.measuring.known import get_to_know
from loadtest.traffic import wrk
from loadtest.traffic.client import ask_one_by_one
from loadtest.traffic.plan import Plan
from loadtest.traffic.process import running
from loadtest.traffic.sample import Protocol, Sample
from loadtest.verdict.objective import Objective
from loadtest.verdict.peers import Loop

WARM_UP_S = 2.0
WARM_UP_CONNECTIONS = 8
ALONE_LIMIT_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A server, and the one request that it is asked. `searched`: the request of the search for the highest rate."""

    contender: Contender
    sample: Sample
    searched: Sample

    @contextlib.contextmanager
    def served(self, log: Path) -> Iterator[Server]:
        """Start the server and warm it up; it ends with the block. Raises NotStartedError."""
        c = self.contender
        with running(c.line, variables=c.variables, ready=c.ready, log=log, folder=c.folder.resolve()) as server:
            (first,) = ask_one_by_one(server.url, [self.sample], timeout_s=30)
            if not first.answered:
                got = f"status {first.status}" if first.status else "no reply"
                raise NotStartedError(f"the server must answer the request, got {got}; {log.name} may say why")
            found = Server(self, server.url)
            found.loop(WARM_UP_CONNECTIONS, WARM_UP_S)
            yield found


@dataclass(frozen=True, slots=True)
class Server:
    """A peer that is warm."""

    peer: Peer
    url: str

    def loop(self, connections: int, seconds: float) -> Loop:
        """A closed loop of wrk. Raises WrkMissingError, and NotStartedError where an answer is missing."""
        sample = self.peer.sample
        got = wrk.closed_loop(
            f"{self.url}{sample.path}", json.loads(sample.body), connections=connections, seconds=seconds
        )
        if got["not_2xx"] or got["broken"] or not got["requests"]:
            raise NotStartedError(
                f"the server must answer each request of {connections} connections, got {got['not_2xx']:.0f} without "
                f"status 2xx and {got['broken']:.0f} broken of {got['requests']:.0f}; its log may say why"
            )
        return {"per_s": round(got["per_s"], 2), "p50_ms": got["p50_ms"], "p99_ms": got["p99_ms"]}

    def highest(self, start_per_s: float, objective: Objective, *, seed: int) -> float:
        """The rate of Poisson arrivals, in full answers/s, that still keeps the objective."""
        plan = replace(Plan(url=self.url, seed=seed), timeout_s=2.0)
        known = get_to_know(self.url, [self.peer.searched] * 20, seed)
        found = Subject(plan, objective, known, known.typical(plan.mix, seed)).highest(start_per_s, seed=seed)
        return found.goodput_per_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Alone:
    """A command that runs the model alone in a process and prints its figures; {seconds} stands in it."""

    line: tuple[str, ...]
    variables: Mapping[str, str]
    folder: Path

    def loops(self, seconds: float) -> dict[int, Loop]:
        """The figures by batch size. Raises NotStartedError where the command prints none."""
        words = [part.replace("{seconds}", f"{seconds:g}") for part in self.line]
        line = ["env", *(f"{name}={value}" for name, value in self.variables.items()), *words]
        try:
            done = subprocess.run(line, cwd=self.folder, capture_output=True, text=True, timeout=ALONE_LIMIT_S)
            return {int(size): loop for size, loop in json.loads(done.stdout).items()}
        except subprocess.TimeoutExpired:
            raise NotStartedError(f"the model alone must end within {ALONE_LIMIT_S:.0f} s, got no end") from None
        except (ValueError, AttributeError):
            raise NotStartedError(
                f"the model alone must print its figures, got status {done.returncode}: {done.stderr[-500:]}"
            ) from None


def read_peers(path: Path) -> tuple[Alone, list[Peer]]:
    """The model alone, and the servers, from a TOML file; the first server is the one that others are held against.

    [alone] and each [[peer]] have a command. A peer has a name and a body too, and perhaps ready, path, protocol,
    variables, and searched: the body of the search for the highest rate. A relative folder starts at the file's own.
    Raises ContenderError.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        row = said["alone"]
        alone = Alone(
            line=tuple(shlex.split(row["command"])),
            variables=row.get("variables", {}),
            folder=path.parent / row.get("folder", "."),
        )
        peers = [_peer(row, path.parent) for row in said["peer"]]
        if not peers:
            raise KeyError("peer")
        return alone, peers
    except FileNotFoundError:
        raise ContenderError(f"{path}: must be a file of peers, got none; `make peers` writes it") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ContenderError(
            f"{path}: must be TOML with [alone] and [[peer]] tables, each with a command, got {error!r}; mend it, or "
            "let `make peers` write it"
        ) from None


def _peer(row: Mapping[str, Any], beside: Path) -> Peer:
    protocol = row.get("protocol", "rest")
    if protocol not in get_args(Protocol):
        raise ValueError(f"protocol {protocol}")
    body = row["body"]
    bodies: Sequence[str] = (body, row.get("searched", body))
    path = row.get("path", "/classify_text")
    asked, searched = (
        Sample(path, text.encode(), "application/json", "short", protocol=cast(Protocol, protocol)) for text in bodies
    )
    contender = Contender(
        name=row["name"],
        line=tuple(shlex.split(row["command"])),
        ready=row.get("ready", "/readyz"),
        variables=row.get("variables", {}),
        folder=beside / row.get("folder", "."),
    )
    return Peer(contender=contender, sample=asked, searched=searched)
