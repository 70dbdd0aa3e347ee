"""The command line of `inspect` and `new`. Nothing heavy is imported before one of them is carried out."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

DATA = "a table, a folder of images or of tables, or an npz file"
CHECKPOINT = "a folder, a state dict, a ready ONNX file, an installed package or an id of the hub (OWNER/NAME@REVISION)"


def add_inspect(command: argparse.ArgumentParser) -> None:
    """The arguments of `inspect`."""
    command.add_argument(
        "data", type=Path, metavar="DATA", help="a table, a folder of images or tables, or an npz file"
    )
    command.add_argument("--checkpoint", help=CHECKPOINT)
    _add_columns(command)
    command.set_defaults(call=_inspect)


def add_new(command: argparse.ArgumentParser) -> None:
    """The arguments of `new`."""
    command.add_argument("--checkpoint", required=True, help=CHECKPOINT)
    command.add_argument("--data", type=Path, required=True, help=DATA)
    command.add_argument("--student", help="a checkpoint of its own for the screen to start from, of any family")
    command.add_argument("--name", help="of the cascade (default: from the name of the data)")
    command.add_argument("--out", type=Path, help="the recipe to write, which must not exist (default: NAME.toml)")
    _add_columns(command)
    command.set_defaults(call=_new)


def _add_columns(command: argparse.ArgumentParser) -> None:
    command.add_argument("--holdout", type=Path, help="the rows for the reported figures, where they lie apart")
    command.add_argument("--text-column", help="(default: guessed, and said)")
    command.add_argument(
        "--label-column",
        action="append",
        default=[],
        help="(default: guessed, and said); repeated: a column of 0 and 1 for each label",
    )


def _source(options: argparse.Namespace) -> Any:
    from optimize.start.source import source_of

    return source_of(
        options.data,
        holdout=options.holdout,
        text_column=options.text_column,
        label_columns=options.label_column,
    )


def _inspect(options: argparse.Namespace) -> None:
    from optimize.start.commands import inspect

    inspect(_source(options), options.checkpoint)


def _new(options: argparse.Namespace) -> None:
    from optimize.start.commands import new

    path = new(_source(options), options.checkpoint, name=options.name, out=options.out, student=options.student)
    print(f"{path} is written; look at it, then: {shlex.join(['python', '-m', 'optimize', 'run', str(path)])}")
