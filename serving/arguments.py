"""The arguments of `bentoml serve` and `bentoml build`: which cascades are served, and where their experts are.

When BentoML 1.4.40 serves a Bento, it drops the arguments of `bentoml serve` and takes those that the Bento was built
with (`_load_bento` in its loader). So what differs between containers of one image can also be set by a variable.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ValidationError

from serving.errors import SettingsError

EXPERT_URL = re.compile(r"https?://([^/:@\[\]\s?#]+|\[[^\]]+\])(:\d+)?")
EXPERT_RULE = (
    "must be http://HOST:PORT or https://HOST:PORT, with an IPv6 address in brackets; the port may be left out"
)

PORT = re.compile(r"[1-9][0-9]{0,4}")
PORT_RULE = "must be a port from 1 to 65535"


def _checked(url: str) -> str:
    """The URL of an expert, or none. Raises ValueError for anything else."""
    if url:
        if not EXPERT_URL.fullmatch(url):
            raise ValueError(EXPERT_RULE)
        place = urlsplit(url)  # raises for a port that there cannot be, once it is read
        if not place.hostname or place.port == 0 or (":" in place.hostname and not IPv6Address(place.hostname)):
            raise ValueError(EXPERT_RULE)
    return url


def _port(port: str) -> str:
    """A port, or none. Raises ValueError for anything else."""
    if port and not (PORT.fullmatch(port) and int(port) < 65_536):
        raise ValueError(PORT_RULE)
    return port


ExpertUrl = Annotated[str, AfterValidator(_checked)]


FROM_VARIABLES = ("text_expert_url", "image_expert_url", "expert_ca", "grpc_port")


class Arguments(BaseModel, extra="forbid"):
    """Arguments as `--arg NAME=VALUE` gives them.

    `text` and `image` name the cascades; NAME-screen, NAME-expert and NAME-operating-point come from the model store.
    An empty name leaves that kind of input out. `settings` is a TOML file of `serving.settings`, relative to
    service.py; without it settings.toml is read, if it exists. `text_expert_url` and `image_expert_url` are
    http://HOST:PORT or https://HOST:PORT of an expert on another machine; then none is started here. `expert_ca` is a
    file of the certificates (PEM) that an expert over https is checked against, in the place of the system's.
    `log_requests` writes one line of JSON for each request. `strict` refuses to serve where a promise does not apply.
    `grpc_port` is the port of the Open Inference Protocol over gRPC; without it there is none.
    """

    text: str = "demo-text"
    image: str = "demo-image"
    settings: str = ""
    log_requests: bool = False
    strict: bool = False
    text_expert_url: ExpertUrl = ""
    image_expert_url: ExpertUrl = ""
    expert_ca: str = ""
    grpc_port: Annotated[str, AfterValidator(_port)] = ""

    @property
    def served(self) -> dict[str, str]:
        """The names of the cascades that are served, by the kind of their input."""
        return {kind: name for kind, name in (("text", self.text), ("image", self.image)) if name}

    def expert_url(self, kind: str) -> str:
        """The URL of the expert for `kind`, text or image; empty if it is started here."""
        return {"text": self.text_expert_url, "image": self.image_expert_url}[kind]

    def require(self, kind: str) -> None:
        """End the process with one sentence if no cascade for `kind` is named."""
        if kind not in self.served:
            raise SystemExit(f"nothing to serve: an expert needs a name; give it with --arg {kind}=NAME")


def with_variables(arguments: Arguments, variables: Mapping[str, str]) -> Arguments:
    """The arguments; variables such as SIEVE_TEXT_EXPERT_URL for those that are not given (FROM_VARIABLES).

    Raises SettingsError if a variable breaks its argument's rule, or the file holds no certificates.
    """
    stated = {field: url for field in FROM_VARIABLES if (url := variables.get(f"SIEVE_{field.upper()}"))}
    try:
        whole = Arguments.model_validate(stated | arguments.model_dump(exclude_unset=True))
    except ValidationError as error:
        first = error.errors()[0]
        name = f"SIEVE_{str(first['loc'][0]).upper()}"
        raise SettingsError(f"{name}: {first['ctx']['error']}, got something else; mend it") from None
    if whole.expert_ca:
        try:
            ssl.create_default_context(cafile=whole.expert_ca)
        except OSError as error:
            raise SettingsError(
                f"expert_ca: must be a file of certificates in PEM, got {type(error).__name__} when it was read; mend "
                "the argument or SIEVE_EXPERT_CA"
            ) from None
    return whole
