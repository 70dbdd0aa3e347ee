"""Examples as a newcomer follows them: the commands of their README, and requests sent by its curl lines."""

from __future__ import annotations

import json
import shlex
import subprocess
from pathlib import Path
from typing import Any

from tests.commands import ROOT
from tests.docs.reading import commands, read

EXAMPLES = ROOT / "examples"
LOCAL = "http://localhost:3000"


def lines(example: str, program: str) -> list[list[str]]:
    """The arguments of each command of the README that begins with `program`."""
    start = shlex.split(program)
    found = [shlex.split(line) for line in commands(read(f"examples/{example}/README.md"))]
    return [line[len(start) :] for line in found if line[: len(start)] == start]


def ask(curl: list[str], url: str, folder: Path = ROOT) -> dict[str, Any]:
    """What a curl line gets from the service at `url`."""
    line = ["curl", *(argument.replace(LOCAL, url) for argument in curl)]
    done = subprocess.run(line, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
