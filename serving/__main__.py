"""The command line: `python -m serving new-key NAME` makes an API key.

`python -m serving watch` is what `bentoml serve` becomes when it has found what to start (`serving.giving_way`), and
`python -m serving expert` how the process of an expert is started (`serving.http.expert_process`).
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from importlib import import_module

from serving.errors import SieveError
from serving.http.keys import RIGHTS, new_key

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 for success, 1 for an error that the user can mend."""
    options = _parser().parse_args(arguments)
    if options.verb == "watch":
        _watch(options.plan)
        return 0
    if options.verb == "expert":
        from serving.http.expert_process import Given, serve_expert

        given = Given.model_validate_json(options.given)
        serve_expert(options.service_name, options.fd, given, os.environ, os.getppid())
        return 0
    try:
        key, entry = new_key(options.name, options.right or ["classify"], options.requests_per_second)
    except SieveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(entry)
    print(f"The key of {options.name}, shown this once:\n{key}", file=sys.stderr)
    return 0


def _watch(plan: int) -> None:
    """Import what the processes of a bundle have in common, then start them and watch over them."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported, which would start threads for it
    from serving.watching import watch

    process = import_module("serving.http.expert_process")
    logging.basicConfig(format=process.LOG_FORMAT.format(service="cli"), datefmt=process.DATE_FORMAT, stream=sys.stdout)
    if os.environ.get(NO_TELEMETRY) == "1":  # else ONNX Runtime starts a thread
        import_module("onnxruntime")
    with open(plan) as file:
        given = json.load(file)
    watch(given, os.environ)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving", description="What a service needs beside its models.")
    verbs = parser.add_subparsers(required=True, metavar="VERB", dest="verb")
    making = verbs.add_parser(
        "new-key", help="make an API key: its entry on the standard output, the key on the standard error"
    )
    making.add_argument("name", help="whose key it is, as metrics name it")
    making.add_argument(
        "--right", action="append", choices=RIGHTS, help="what it may do (default: classify); may be repeated"
    )
    making.add_argument(
        "--requests-per-second", type=float, metavar="N", help="how many requests it may send; without it no limit"
    )
    serving = verbs.add_parser("expert", help="the process of an expert, as `bentoml serve` starts it")
    serving.add_argument("--service-name", required=True, help="the expert's BentoML service")
    serving.add_argument("--fd", required=True, type=int, help="the file descriptor of the socket to listen on")
    serving.add_argument("given", help="JSON of its cascade and its model")
    watching = verbs.add_parser("watch", help="the process that watches over the others, as `bentoml serve` becomes it")
    watching.add_argument("plan", type=int, help="the file descriptor of a file that says what to start")
    return parser


if __name__ == "__main__":
    sys.exit(main())
