"""The arguments of `bentoml serve` and `bentoml build`: which cascades are served, and where their experts are.

When BentoML 1.4.40 serves a Bento, it drops the arguments of `bentoml serve` and takes those that the Bento was built
with (`_load_bento` in its loader). So what differs between containers of one image can also be set by a variable.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, NamedTuple

from pydantic import AfterValidator, BaseModel, ValidationError

from serving.errors import SettingsError
from serving.expert_tls import ExpertTls
from serving.expert_url import RULE, checked

# With -operating-point behind it a name of the model store, of 63 characters at most.
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,46}")
NAMES_RULE = (
    "must be the names of cascades, each once, with commas and no spaces between them: a,b; a name has up to 47 "
    "lower-case letters, digits, dots, dashes and underscores, and begins with a letter or a digit"
)
NAMED_URL = re.compile(r"([^,=\s:]+)=(.*)", re.DOTALL)

PORT = re.compile(r"[1-9][0-9]{0,4}")
PORT_RULE = "must be a port from 1 to 65535"


def _port(port: str) -> str:
    """A port, or none. Raises ValueError for anything else."""
    if port and not (PORT.fullmatch(port) and int(port) < 65_536):
        raise ValueError(PORT_RULE)
    return port


def _urls(stated: str) -> str:
    """The URL of an expert, NAME=URL of several with commas between them, or none. Raises ValueError otherwise."""
    for _, url in _named_urls(stated):
        if not checked(url):
            raise ValueError(RULE)
    return stated


def _named_urls(stated: str) -> Iterator[tuple[str, str]]:
    """The name of each cascade whose expert has a URL, and the URL; without a name it is the only cascade."""
    for part in stated.split(",") if stated else ():
        named = NAMED_URL.fullmatch(part)
        yield (named[1], named[2]) if named else ("", part)


def _names(stated: str) -> str:
    """The names of cascades, or none. Raises ValueError for anything else."""
    names = stated.split(",") if stated else []
    if len(set(names)) < len(names) or not all(map(NAME.fullmatch, names)):
        raise ValueError(NAMES_RULE)
    return stated


def _shadow(stated: str) -> str:
    """The name of one cascade, or none. Raises ValueError for anything else."""
    if "," in stated:
        raise ValueError("must be the name of one cascade")
    return _names(stated)


ExpertUrl = Annotated[str, AfterValidator(_urls)]
Names = Annotated[str, AfterValidator(_names)]
ShadowName = Annotated[str, AfterValidator(_shadow)]


KINDS = ("text", "image")
TLS_FILES = ("expert_ca", "expert_cert", "expert_key")
FROM_VARIABLES = ("text_expert_url", "image_expert_url", *TLS_FILES, "grpc_port")


class Chosen(NamedTuple):
    """A cascade for `kind`, text or image, in its place among those for this kind."""

    kind: str
    name: str
    place: int

    def attribute(self, role: str) -> str:
        """The attribute of the API's class that holds a model of the cascade, or the service of its expert."""
        return f"{self.kind}_{self.place}_{role.replace('-', '_')}"


class Arguments(BaseModel, extra="forbid"):
    """Arguments as `--arg NAME=VALUE` gives them.

    `text` and `image` name the cascades; NAME-screen, NAME-expert and NAME-operating-point come from the model store.
    Commas stand between several names, of which the first answers requests that name none. An empty name leaves that
    kind of input out. `settings` is a TOML file of `serving.settings`, relative to service.py; without it settings.toml
    is read, if it exists. `text_expert_url` and `image_expert_url` are http://HOST:PORT or https://HOST:PORT of an
    expert on another machine, or oip+http://HOST:PORT/MODEL and the like of a model on another server
    (`serving.expert_url`), and NAME=URL with commas between them where there are several cascades; an expert with a URL
    is not started here. `expert_ca` is a file of the certificates (PEM) that an expert over https is checked against,
    in the place of the system's; `expert_cert` and `expert_key` are the certificate, and its key, that the API shows to
    it. `shadow_text` and `shadow_image` name a cascade that answers a copy of the traffic of the first one for this
    kind of input, off the path. `log_requests` writes one line of JSON for each request. `strict` refuses to serve
    where a promise does not apply. `grpc_port` is the port of the Open Inference Protocol over gRPC; without it there
    is none.
    """

    text: Names = "demo-text"
    image: Names = "demo-image"
    settings: str = ""
    shadow_text: ShadowName = ""
    shadow_image: ShadowName = ""
    log_requests: bool = False
    strict: bool = False
    text_expert_url: ExpertUrl = ""
    image_expert_url: ExpertUrl = ""
    expert_ca: str = ""
    expert_cert: str = ""
    expert_key: str = ""
    grpc_port: Annotated[str, AfterValidator(_port)] = ""

    @property
    def served(self) -> list[Chosen]:
        """The cascades that are served."""
        stated = {"text": self.text, "image": self.image}
        return [
            Chosen(kind, name, place)
            for kind, names in stated.items()
            for place, name in enumerate(names.split(",") if names else ())
        ]

    @property
    def shadows(self) -> list[Chosen]:
        """The cascades that answer a copy of the traffic; their places come after those of the served ones."""
        stated = {"text": self.shadow_text, "image": self.shadow_image}
        served = [chosen.kind for chosen in self.served]
        return [Chosen(kind, name, served.count(kind)) for kind, name in stated.items() if name]

    @property
    def opened(self) -> list[Chosen]:
        """Those that are served, then the shadows."""
        return self.served + self.shadows

    @property
    def several(self) -> bool:
        """Whether there are several cascades for one kind of input, a shadow included."""
        return any(chosen.place for chosen in self.opened)

    @property
    def expert_tls(self) -> ExpertTls:
        """The files for experts over https."""
        return ExpertTls(ca=self.expert_ca, cert=self.expert_cert, key=self.expert_key)

    def expert_url(self, chosen: Chosen) -> str:
        """The URL of the expert of a cascade; empty if it is started here."""
        urls = dict(_named_urls(getattr(self, f"{chosen.kind}_expert_url")))
        return urls.get(chosen.name) or urls.get("", "")

    def starts_expert(self, chosen: Chosen, audit_url: str) -> bool:
        """Whether an expert is started here: none that has a URL, and no shadow's where there is an `audit_url`."""
        return not self.expert_url(chosen) and not (audit_url and chosen in self.shadows)

    def require_any(self) -> None:
        """End the process with one sentence if no cascade is served."""
        if not self.served:
            raise SystemExit("nothing to serve: give a name with --arg text=NAME, --arg image=NAME, or both")

    def require(self, kind: str, place: int = 0) -> Chosen:
        """The cascade for `kind` in this place. Ends the process with one sentence if there is none."""
        for chosen in self.opened:
            if (chosen.kind, chosen.place) == (kind, place):
                return chosen
        raise SystemExit(f"nothing to serve: an expert needs a name; give it with --arg {kind}=NAME")


def with_variables(arguments: Arguments, variables: Mapping[str, str]) -> Arguments:
    """The arguments; variables such as SIEVE_TEXT_EXPERT_URL for those that are not given (FROM_VARIABLES).

    Raises SettingsError if a variable breaks its argument's rule, a file of TLS cannot be read, or a URL is of no
    cascade that is served.
    """
    stated = {field: url for field in FROM_VARIABLES if (url := variables.get(f"SIEVE_{field.upper()}"))}
    try:
        whole = Arguments.model_validate(stated | arguments.model_dump(exclude_unset=True))
    except ValidationError as error:
        first = error.errors()[0]
        name = f"SIEVE_{str(first['loc'][0]).upper()}"
        raise SettingsError(f"{name}: {first['ctx']['error']}, got something else; mend it") from None
    _require_their_cascades(whole)
    _require_their_files(whole)
    return whole


def _require_their_files(whole: Arguments) -> None:
    """Raise SettingsError unless the files for experts over https can be read and go together."""
    stated = " and ".join(name for name in TLS_FILES if getattr(whole, name))
    if not stated:
        return
    if whole.expert_key and not whole.expert_cert:
        raise SettingsError("expert_key must go with expert_cert, got no expert_cert; give both, or none")
    try:
        whole.expert_tls.context()
    except OSError as error:
        raise SettingsError(
            f"{stated}: must be files in PEM without a password, a key that of its certificate, got "
            f"{type(error).__name__} when they were read; mend the arguments, or the variables such as SIEVE_EXPERT_CA"
        ) from None


def _require_their_cascades(whole: Arguments) -> None:
    """Raise SettingsError unless every name is one cascade's, and every URL that of a cascade's expert."""
    names = [chosen.name for chosen in whole.opened]
    if len(set(names)) < len(names):
        raise SettingsError(
            "text, image and the shadows must name different cascades, got one name twice; mend the --arg"
        )
    for chosen in whole.shadows:
        if not getattr(whole, chosen.kind):
            raise SettingsError(
                f"shadow_{chosen.kind} must go with a cascade that is served, got no {chosen.kind}; give it with --arg "
                f"{chosen.kind}=NAME"
            )
    for kind in KINDS:
        ours = [chosen.name for chosen in whole.opened if chosen.kind == kind]
        urls = [name for name, _ in _named_urls(getattr(whole, f"{kind}_expert_url"))]
        if len(set(urls)) < len(urls) or ("" in urls and (len(ours) > 1 or len(urls) > 1)):
            raise SettingsError(
                f"{kind}_expert_url must have one URL for each cascade, got one without a name or a name twice; give "
                f"it as {kind}_expert_url=NAME=URL,NAME=URL"
            )
        if ours and not {*urls} <= {"", *ours}:
            raise SettingsError(
                f"{kind}_expert_url must name cascades that are served, got another one; use one of {', '.join(ours)}"
            )
