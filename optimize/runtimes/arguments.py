"""The command line of `runtimes`. Nothing heavy is imported before it is carried out."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path


def add_runtimes(command: argparse.ArgumentParser) -> None:
    """The arguments of `runtimes`."""
    command.add_argument(
        "name", metavar="NAME", help="a cascade or a tag of the model store, a build folder, or an artifact folder"
    )
    command.add_argument(
        "--variant", action="append", default=[], help="a variant, or all; may be repeated (default: the CPU's default)"
    )
    command.add_argument(
        "--build", type=Path, help="build folder with the checkpoint for TorchScript (default: build/RECIPE)"
    )
    command.add_argument("--threads", type=int, default=1, help="of each runtime (default: 1)")
    command.add_argument(
        "--batch-sizes", type=_numbers, default=(1, 8, 32), metavar="N,N,...", help="(default: 1,8,32)"
    )
    command.add_argument("--tokens", type=int, help="length of the texts (default: 32)")
    command.add_argument("--rounds", type=int, default=30, help="of each batch size (default: 30)")
    command.add_argument(
        "--seconds", type=float, default=15.0, help="a slow runtime has fewer rounds at a batch size (default: 15)"
    )
    command.add_argument("--wait", type=float, default=300.0, help="seconds for one answer of a runtime (default: 300)")
    command.add_argument("--out", type=Path, default=Path("build/runtimes"), help="(default: build/runtimes)")
    command.set_defaults(call=_runtimes)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


def _runtimes(options: argparse.Namespace) -> None:
    from optimize.runtimes.compare import Settings, compare
    from optimize.runtimes.measure import Pace

    pace = Pace(threads=options.threads, rounds=options.rounds, seconds=options.seconds, wait_s=options.wait)
    settings = Settings(
        variants=tuple(options.variant),
        batch_sizes=options.batch_sizes,
        tokens=options.tokens,
        build=options.build,
        out=options.out,
        pace=pace,
    )
    compare(options.name, settings, shlex.join(["python", "-m", "optimize", *sys.argv[1:]]))
