"""The arguments of `operating-point` that are about traffic. Nothing heavy is imported before they are used."""

from __future__ import annotations

import argparse
from pathlib import Path

from optimize.score.asked import Asked


def add_traffic(command: argparse.ArgumentParser) -> None:
    """The arguments that say where traffic lies and how it is read."""
    command.add_argument(
        "--traffic",
        type=Path,
        metavar="IN",
        help="certify on unlabelled inputs: a table, a folder of tables, or a folder or a zip of images",
    )
    command.add_argument("--text-column", help="of the traffic (default: text)")
    command.add_argument("--text-pair-column", help="of the traffic of a cascade for pairs (default: text_pair)")
    command.add_argument("--image-column", help="of a table with images or their paths (default: image)")
    command.add_argument("--encoding", help="of a text file with traffic (default: found)")
    command.add_argument("--delimiter", help="of a text file with traffic (default: found)")


def asked_of(options: argparse.Namespace) -> Asked:
    """How the traffic is read."""
    return Asked(
        text_column=options.text_column,
        text_pair_column=options.text_pair_column,
        image_column=options.image_column,
        encoding=options.encoding,
        delimiter=options.delimiter,
    )
