"""An expert's process that `bentoml serve` starts beside the API: uvicorn and our endpoints, without BentoML.

BentoML's worker would import BentoML, its client and its page first: 40 MB for each expert, and half a second of its
start. `serving.control` gives Circus this process in the place of BentoML's worker. It has the same socket and the same
variables. BentoML's batchable API is missing: the API itself, which alone reaches this socket, does not ask it.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import MutableMapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn
from pydantic import BaseModel, ConfigDict
from starlette.applications import Starlette

from serving.cascade.store import of_tag, stored_in
from serving.ending import SERVER_VARIABLE, end_after, in_one_sentence
from serving.http.admin import VARIABLE as ADMIN_VARIABLE
from serving.http.admin import AdminKey
from serving.http.draining import Draining
from serving.http.expert_app import METHODS
from serving.http.expert_host import Around, ExpertHost
from serving.http.framed import FramedCalls
from serving.http.keep_alive import KEEP_ALIVE_S
from serving.http.mount import mounted_app
from serving.http.no_pickle import NoPickle
from serving.http.protocol import install_protocol
from serving.settings import Settings
from serving.start import Start
from serving.watch.folder import own_folder
from serving.watch.tracing import tracing_settings

LOG_FORMAT, DATE_FORMAT = "%(asctime)s [%(levelname)s] [{service}] %(message)s", "%Y-%m-%dT%H:%M:%S%z"
"""As BentoML's workers log."""
BACKLOG = 2048
SHADOW_NICE = 19
"""The expert of a shadow gets what the other processes leave."""
TRACING_OFF, DRAIN_FILE = "SIEVE_TRACING_OFF", "SIEVE_DRAIN_FILE"


class Given(BaseModel):
    """What the server tells an expert's process: its cascade, the tag of its model, and the folder of the store."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    model: str
    store: str
    settings: Settings
    several: bool
    shadow: bool = False


def start_of(service: str, given: Given, folder: Path) -> Start:
    """How Circus starts the expert of a BentoML `service`, whose code lies in `folder`."""
    socket_of = f"$(circus.sockets.{service})"
    # Everybody on the machine may read arguments, an expert does not audit, and the URL may hold a password.
    given = given.model_copy(update={"settings": given.settings.model_copy(update={"audit_url": ""})})
    arguments = ("-m", "serving", "expert", "--service-name", service, "--fd", socket_of, given.model_dump_json())
    return Start(arguments=arguments, folder=folder)


def serve_expert(service: str, fd: int, given: Given, variables: MutableMapping[str, str], server: int) -> None:
    """Serve until a signal ends this process. `fd`: the socket to listen on; `server`: the process id of the parent."""
    form = LOG_FORMAT.format(service=service)
    logging.basicConfig(format=form, datefmt=DATE_FORMAT, level=logging.WARNING, stream=sys.stdout)
    end_after(variables.get(SERVER_VARIABLE))
    os.nice(SHADOW_NICE if given.shadow else 0)
    draining, store = Draining(variables.get(DRAIN_FILE)), Path(given.store)
    around = Around(
        metrics=own_folder(variables, server),
        draining=draining,
        tracing=None if variables.get(TRACING_OFF) == "true" else tracing_settings(variables),
        admin=AdminKey(variables.get(ADMIN_VARIABLE, "")),
    )
    with in_one_sentence(given.model):
        model = of_tag(store, given.model)
    host = ExpertHost(
        given.name, model, partial(stored_in, store), around, settings=given.settings, several=given.several
    )
    install_protocol(KEEP_ALIVE_S)
    config = uvicorn.Config(expert_app(host, draining), backlog=BACKLOG, log_config=None, server_header=False)
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])


def expert_app(host: ExpertHost, draining: Draining) -> Starlette:
    """The application of an expert's process: the same addresses and the same fast path as under BentoML."""
    served: Any = SimpleNamespace(endpoints=host.endpoints, readiness=host.readiness, gate=host.gate, lag=host.lag)
    methods = {address: METHODS.get(address, "POST") for address in host.endpoints}
    app = mounted_app(methods, lambda: served, draining, beside=FramedCalls(host.models).served)
    app.add_middleware(NoPickle)
    served.to_async = SimpleNamespace(app=app)
    return app
