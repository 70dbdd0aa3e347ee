"""The command line: `python -m serving.audit_worker` asks experts about what services send to be audited.

It opens the experts of a model store, or asks those that run elsewhere, and works until a signal ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import urllib.request
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.error import URLError

from pydantic import ValidationError

from serving.arrays import Array, Logits
from serving.audit.broker import Broker
from serving.audit.note import Outcome
from serving.audit_worker.worker import AuditWorker
from serving.cascade.store import LATEST, of_tag
from serving.errors import ArtifactError, SettingsError, SieveError
from serving.expert.client import RemoteExpert
from serving.expert_tls import ExpertTls
from serving.expert_url import OURS
from serving.model.artifact import Artifact
from serving.model.device import Wanted
from serving.model.golden import check_golden
from serving.model.preprocess import preprocessor
from serving.model.runner import Runner
from serving.model.session import Session
from serving.settings import DEVICES, Settings

NICE = 19
"""A worker gets what the other processes of its machine leave."""
ASK_S = 10.0
RULES = {
    "audit_url": "--url must be nats://HOST:PORT or tls://HOST:PORT",
    "device": f"--device must be {DEVICES}",
    "expert_threads": "--threads must be a whole number from 1 to 256",
}
"""The rule of each setting that an option states."""

Ask = Callable[[Array], Awaitable[Logits]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 after SIGTERM or SIGINT, 1 for an error that the user can mend."""
    options = _parser(os.environ).parse_args(arguments)
    logging.basicConfig(format="%(asctime)s [%(levelname)s] %(message)s", level=logging.WARNING)
    os.nice(NICE)
    try:
        settings = Settings(audit_url=options.url, device=options.device, expert_threads=options.threads)
        if not settings.audit_url:
            raise SettingsError("--url must name the broker, as in nats://HOST:4222, got none; state it")
        tls = ExpertTls(**{name: os.environ.get(f"SIEVE_EXPERT_{name.upper()}", "") for name in ("ca", "cert", "key")})
        count = _counters(options.metrics_port)
        experts = _elsewhere(options.expert_url, tls) if options.expert_url else _here(options, settings)
    except ValidationError as error:
        print(f"error: {RULES[str(error.errors()[0]['loc'][0])]}, got something else; mend it", file=sys.stderr)
        return 1
    except SieveError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"working for {', '.join(digest[:12] for digest in experts)}", flush=True)
    asyncio.run(_work(settings.audit_url, experts, count))
    return 0


async def _work(url: str, experts: Mapping[str, Ask], count: Callable[[str, Outcome], None]) -> None:
    """Work for all experts over one connection until a signal comes."""
    broker, ended = Broker(url, "sieve-audit-worker"), asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    broker.start()
    workers = [AuditWorker(broker, digest, ask, partial(count, digest)) for digest, ask in experts.items()]
    working = [loop.create_task(worker.run()) for worker in workers]
    await ended.wait()
    for task in working:
        task.cancel()
    await broker.close()
    print(*(f"{digest[:12]}: {dict(each.counts)}" for digest, each in zip(experts, workers, strict=True)), sep="\n")


def _here(options: argparse.Namespace, settings: Settings) -> dict[str, Ask]:
    """The experts of the store that are named, opened here, by their digests; the newest of each where none is."""
    store: Path = options.store
    tags = options.model or sorted(path.name for path in store.glob("*-expert"))
    if not tags:
        raise ArtifactError(f"{store} must hold an expert, got none; name the right --store, or an --expert-url")
    turn, opened = asyncio.Lock(), dict[str, Ask]()
    for tag in tags:
        artifact = Artifact.open(Path(of_tag(store, tag if ":" in tag else f"{tag}:{LATEST}").path))
        session = Session(artifact, threads=settings.expert_threads, wanted=Wanted.of(settings))
        runner = Runner(session, preprocessor(artifact))
        if against := check_golden(artifact, runner).against:
            raise ArtifactError(f"an audit needs the expert that was certified: {against}")
        opened[artifact.digest] = partial(_run, runner, turn)
    return opened


async def _run(runner: Runner, turn: asyncio.Lock, item: Array) -> Logits:
    async with turn:
        return await asyncio.to_thread(runner.run, [item])


def _elsewhere(url: str, tls: ExpertTls) -> dict[str, Ask]:
    """The expert at a URL, by the digest that it has now."""
    if not OURS.fullmatch(url):
        raise SettingsError("--expert-url must be http(s)://HOST:PORT of an expert, got something else; mend it")
    try:
        # Only http and https match, and the operator names the place.
        with urllib.request.urlopen(f"{url}/model", timeout=ASK_S, context=tls.context()) as reply:  # nosec B310
            digest = str(reply.headers["ETag"]).strip('"')
    except (URLError, OSError) as error:
        raise ArtifactError(
            f"the expert at --expert-url must say what it runs, got {type(error).__name__}; start it first"
        ) from None
    return {digest: partial(_ask, RemoteExpert(url, "the expert", digest, tls))}


async def _ask(expert: RemoteExpert, item: Array) -> Logits:
    return (await expert([item])).logits


def _counters(port: int) -> Callable[[str, Outcome], None]:
    """Counts items, as metrics on `port`; 0 shows none."""
    from prometheus_client import Counter, start_http_server

    items = Counter("sieve_audit_worker_items", "Audited items that were worked on", ("digest", "outcome"))
    try:
        if port:
            start_http_server(port)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"--metrics-port must be a free port from 1 to 65535, got one that fails ({type(error).__name__}); mend it"
        ) from None
    return lambda digest, outcome: items.labels(digest[:12], outcome).inc()


def _parser(variables: Mapping[str, str]) -> argparse.ArgumentParser:
    home = variables.get("BENTOML_HOME") or str(Path.home() / "bentoml")
    parser = argparse.ArgumentParser(
        prog="python -m serving.audit_worker", description=" ".join((__doc__ or "").split())
    )
    parser.add_argument(
        "--url",
        default=variables.get("SIEVE_AUDIT_URL", ""),
        help="the broker, as the setting audit_url (default: the variable SIEVE_AUDIT_URL)",
    )
    parser.add_argument(
        "--model",
        action="append",
        metavar="NAME[:VERSION]",
        help="an expert of the store (default: the newest of each); may be repeated",
    )
    parser.add_argument("--store", type=Path, default=Path(home, "models"), help="BentoML's folder of models")
    parser.add_argument("--expert-url", metavar="URL", help="ask the expert that runs there, and open none here")
    parser.add_argument("--device", default="auto", help="where experts run, as the setting device (default: auto)")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="threads of each expert (default: 1)")
    parser.add_argument("--metrics-port", type=int, default=0, metavar="PORT", help="show metrics there")
    return parser


if __name__ == "__main__":
    sys.exit(main())
