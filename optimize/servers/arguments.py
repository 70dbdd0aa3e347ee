"""The command line of `export-triton`. Nothing heavy is imported before it is carried out."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_export(command: argparse.ArgumentParser) -> None:
    """The arguments of `export-triton`."""
    command.add_argument("name", metavar="NAME", help="a cascade of the model store")
    command.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the model repository, in which NAME-expert is made"
    )
    command.add_argument("--server", choices=("triton", "mlserver"), default="triton", help="(default: triton)")
    command.add_argument("--variant", help="of the expert (default: the one that the promise was made for)")
    command.set_defaults(call=_export)


def _export(options: argparse.Namespace) -> None:
    from optimize.publish.cascades import open_cascade
    from optimize.servers.export import export

    exported = export(open_cascade(options.name), options.name, options.folder, options.server, options.variant)
    print(f"{exported.folder} holds {exported.variant} as version {exported.version}; ask it with the argument")
    for url in exported.urls:
        print(f"  --arg {exported.kind}_expert_url={url}")
