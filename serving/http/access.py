"""Who may do what, as variables and settings say: API keys, the key of operators, priority, and rates of addresses."""

from __future__ import annotations

import ipaddress
import logging
import secrets
from collections.abc import MutableMapping
from pathlib import Path

from serving.http.admin import VARIABLE as ADMIN_VARIABLE
from serving.http.admin import AdminKey
from serving.http.gate import Count, Gate
from serving.http.keys import OPERATOR, Key, KeysFile, digest_of
from serving.http.priority import VARIABLE as PRIORITY_VARIABLE
from serving.http.priority import PriorityRule
from serving.load.rate import RateByAddress
from serving.settings import Settings

KEYS_VARIABLE = "SIEVE_API_KEYS_FILE"
PROXIES_VARIABLE = "FORWARDED_ALLOW_IPS"
"""Tells uvicorn whose X-Forwarded-For counts. By default it believes everybody on this machine."""

logger = logging.getLogger("sieve")


class Access:
    """Reads `variables` and `settings` once; the workers of this process inherit what is set in `variables` here.

    Raises SettingsError if one of them breaks a rule.
    """

    def __init__(self, variables: MutableMapping[str, str], settings: Settings) -> None:
        self.priority = PriorityRule(variables.get(PRIORITY_VARIABLE, ""))
        stated = variables.get(KEYS_VARIABLE, "")
        if stated:
            stated = variables[KEYS_VARIABLE] = str(Path(stated).absolute())  # workers may run in another folder
            # The experts that are started here take an operator's request from the API, whichever key has let it in.
            variables[ADMIN_VARIABLE] = variables.get(ADMIN_VARIABLE) or secrets.token_hex()
        self.admin = AdminKey(variables.get(ADMIN_VARIABLE, ""))
        variables.setdefault(PROXIES_VARIABLE, ",".join(settings.trusted_proxies))
        self._keys: KeysFile | None = None
        if stated:
            operator = Key(OPERATOR, digest_of(self.admin.stated), ["admin"])
            self._keys = KeysFile(Path(stated), share=1 / settings.workers, more=[operator])
        per_s = settings.requests_per_address
        self._addresses = RateByAddress(per_s / settings.workers) if per_s else None

    def gate(self, count: Count) -> Gate:
        """The gate of the API. `count` counts what it lets in and what it refuses."""
        return Gate(self._keys, self._addresses, count)

    def warn_if_open(self, host: str) -> None:
        """Log a warning if others than this machine reach `host` and need no key."""
        if self._keys is None and not ipaddress.ip_address(host).is_loopback:
            logger.warning(
                "the API listens on %s, and whoever reaches it may use it: there are no keys. Set %s, or listen on "
                "127.0.0.1 (docs/keys.md)",
                host,
                KEYS_VARIABLE,
            )
