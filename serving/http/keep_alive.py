"""How long a server keeps a connection on which nothing comes.

A proxy keeps connections to a server and reuses them. If it sends a request at the moment when the server closes an
idle connection, the request is lost, and the proxy answers 502. So a server must keep connections for longer than its
proxies do: nginx and most load balancers keep them for 60 seconds, BentoML by default for 5.
"""

from __future__ import annotations

import click
from click.core import ParameterSource

KEEP_ALIVE_S = 75
OPTION = "timeout_keep_alive"


def keep_alive_s() -> int | None:
    """KEEP_ALIVE_S; None where BentoML's `--timeout-keep-alive` states another number, which then holds.

    Call it in a worker of BentoML while it loads the service. Its command line has that option with a default, and
    only click knows whether it was stated.
    """
    context = click.get_current_context(silent=True)
    stated = context is not None and context.get_parameter_source(OPTION) is ParameterSource.COMMANDLINE
    return None if stated else KEEP_ALIVE_S
