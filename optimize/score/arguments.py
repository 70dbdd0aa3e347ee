"""The command line of `score`. Nothing heavy is imported before it is carried out."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_score(command: argparse.ArgumentParser) -> None:
    """The arguments of `score`."""
    command.add_argument("name", metavar="NAME", help="a cascade of the model store")
    command.add_argument(
        "input", type=Path, metavar="IN", help="a table, a folder of tables, or a folder or a zip of images"
    )
    command.add_argument("out", type=Path, metavar="OUT", help="ends in .csv, .tsv, .ndjson, .jsonl or .parquet")
    command.add_argument("--text-column", help="(default: text)")
    command.add_argument("--text-pair-column", help="of a cascade for pairs (default: text_pair)")
    command.add_argument("--image-column", help="of a table with images or their paths (default: image)")
    command.add_argument("--scores", action="store_true", help="the score of each label, too")
    command.add_argument("--prefix", default="", help="before the names of the columns of answers (default: none)")
    command.add_argument("--threads", type=_count, help="that run models (default: one for each core)")
    command.add_argument("--encoding", help="of a text file (default: found)")
    command.add_argument("--delimiter", help="of a text file (default: found)")
    command.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="score on Ray Data, on the cluster at ADDRESS or on this machine; OUT is a folder of Parquet files",
    )
    command.add_argument("--workers", type=_count, help="with --ray: cascades that are open (default: all cores)")
    command.set_defaults(call=_score)


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _score(options: argparse.Namespace) -> None:
    from dataclasses import fields

    from optimize.publish.cascades import open_cascade
    from optimize.score.asked import Asked
    from serving.cpu import cores

    asked = Asked(**{field.name: getattr(options, field.name) for field in fields(Asked)})
    cascade = open_cascade(options.name)
    if options.ray is not None:
        from optimize.score.on_ray import score_on_ray

        where = {"address": options.ray, "workers": options.workers, "threads": options.threads or 1}
        score_on_ray(cascade, options.input, options.out, asked, **where)
        return
    from optimize.score.run import score

    score(cascade, options.input, options.out, asked, threads=options.threads or cores())
