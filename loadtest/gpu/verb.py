"""The verb `gpu`: everything about one GPU in one command and one JSON file."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtest.errors import OptionError
from loadtest.gpu.alone import BATCHES, Clock, Row, best, goals, rows
from loadtest.gpu.chips import chip_named
from loadtest.gpu.table import gpu_table
from loadtest.machine import machine
from loadtest.options import count, plan_of, positive
from loadtest.verbs import EXIT_FAILED, EXIT_PASSED, AddsVerb, add_plan, make_folder

HTTP_SHARE = 0.8
HTTP_BATCH = 32
"""Over HTTP so much of the items/s that the session alone has in batches of HTTP_BATCH is asked for BERT."""


def add_gpu(verbs: AddsVerb) -> None:
    """Add the verb."""
    verb = verbs.add_parser("gpu", help="what a GPU does with BERT-base and ResNet-50, alone and through HTTP: JSON")
    verb.add_argument("--device", choices=("gpu", "cpu"), default="gpu", help="cpu tries the command out (gpu)")
    verb.add_argument("--tiny", action="store_true", help="tiny models, to try the command out")
    verb.add_argument("--minutes", type=positive, default=8.0, help="for all; what does not fit is left out (8)")
    verb.add_argument("--seconds", type=positive, default=1.0, help="of each batch size of each way (1)")
    verb.add_argument("--batches", type=_counts, default=BATCHES, help="batch sizes (1,8,32,128)")
    verb.add_argument("--ways", default="", help="measure those alone whose names hold this, like PyTorch")
    verb.add_argument("--text-service", default="", metavar="COMMAND", help="serves texts on a GPU; {port} in it")
    verb.add_argument("--image-service", default="", metavar="COMMAND", help="serves images on a GPU; {port} in it")
    add_plan(verb)
    verb.set_defaults(call=_gpu)


def _counts(stated: str) -> tuple[int, ...]:
    return tuple(count(part) for part in stated.split(","))


def _gpu(options: argparse.Namespace) -> int:
    from loadtest.gpu.contenders import WAYS
    from loadtest.gpu.networks import networks
    from loadtest.pages.files import write_json

    begin_s, on_gpu = time.monotonic(), options.device == "gpu"
    make_folder(options.out)
    name = _gpu_name() if on_gpu else machine()["processor"]
    chip = chip_named(name) if on_gpu else None
    ways = [way for way in WAYS if options.ways in way.name]
    found: list[Row] = []
    http: list[Row] = []
    for network in networks(options.out / "gpu", tiny=options.tiny, half=on_gpu):
        command = options.text_service if network.tokens is not None else options.image_service
        # Half of the time is for each model, and half of that for the service, where there is one.
        clock = Clock(options.minutes / (4 if command else 2))
        batches, seconds = options.batches, options.seconds
        for row in rows(network, ways, on_gpu=on_gpu, chip=chip, batches=batches, seconds=seconds, clock=clock):
            found.append(row)
            print(_line(row), flush=True)
        if command:
            http.append({"model": network.name, **_served(options, network, command, found)})
    result: dict[str, Any] = {
        "machine": machine(),
        "device": options.device,
        "chip": name,
        "peaks": None if chip is None else {"fp16_tflops": chip.fp16_tflops, "memory_gb_per_s": chip.memory_gb_per_s},
        "source_of_peaks": None if chip is None else chip.source,
        "precision": "fp16" if on_gpu else "fp32",
        "versions": _versions(),
        "alone": found,
        "http": http,
        "goals": goals(found),
        "took_s": round(time.monotonic() - begin_s, 1),
    }
    path: Path = options.out / "gpu.json"
    write_json(path, result)
    print(gpu_table(result))
    print(f"{path} has the figures")
    held = [goal["holds"] for goal in result["goals"]] + [row["holds"] for row in http if row.get("holds") is not None]
    return EXIT_PASSED if all(held) else EXIT_FAILED


def _served(options: argparse.Namespace, network: Any, command: str, found: Sequence[Row]) -> Row:
    from loadtest.gpu.through_http import through_http

    images = network.tokens is None
    alone = best(found, network.name, HTTP_BATCH)
    said = through_http(
        tuple(shlex.split(command)),
        plan_of(options),
        images=images,
        limit_ms=network.limit_ms,
        alone_per_s=None if alone is None else alone["items_per_s"],
        folder=options.out,
    )
    share = said["share_of_session_alone"]
    holds = None if images or share is None else share >= HTTP_SHARE
    return {**said, "asked_share": None if images else HTTP_SHARE, "holds": holds}


def _line(row: Row) -> str:
    """What is said while it goes on; the table comes at the end."""
    took = row.get("missing") or f"{row['ms']:.3f} ms"
    return f"{row['model']}, {row['way']}, batch {row.get('batch', '-')}: {took}"


def _gpu_name() -> str:
    """The name of the first GPU. Raises OptionError without one."""
    try:
        import torch
    except ModuleNotFoundError:
        raise OptionError(
            "--device gpu: needs PyTorch, got none; install it with `pip install '.[optimize]'`"
        ) from None
    if not torch.cuda.is_available():
        raise OptionError(
            "--device gpu: needs an NVIDIA GPU and PyTorch with CUDA, got a machine on which PyTorch sees none; try "
            "the command out with --device cpu --tiny"
        )
    return str(torch.cuda.get_device_name(0))


def _versions() -> dict[str, str]:
    import onnxruntime
    import torch

    return {"onnxruntime": onnxruntime.__version__, "torch": torch.__version__}
