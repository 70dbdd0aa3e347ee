"""The arguments of `bentoml serve` and `bentoml build`: which cascades are served, and where their experts are.

When BentoML 1.4.40 serves a Bento, it drops the arguments of `bentoml serve` and takes those that the Bento was built
with (`_load_bento` in its loader). So what differs between containers of one image can also be set by a variable.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field, ValidationError

from serving.errors import SettingsError

EXPERT_URL = r"^(http://[^/:@]+(:\d+)?)?$"


class Arguments(BaseModel, extra="forbid"):
    """Arguments as `--arg NAME=VALUE` gives them.

    `text` and `image` name the cascades; NAME-screen, NAME-expert and NAME-operating-point come from the model store.
    An empty name leaves that kind of input out. `settings` is a TOML file of `serving.settings`, relative to
    service.py; without it settings.toml is read, if it exists. `text_expert_url` and `image_expert_url` are
    http://HOST:PORT of an expert on another machine; then none is started here. `log_requests` writes one line of
    JSON for each request. `strict` refuses to serve where a promise does not apply.
    """

    text: str = "demo-text"
    image: str = "demo-image"
    settings: str = ""
    log_requests: bool = False
    strict: bool = False
    text_expert_url: str = Field(default="", pattern=EXPERT_URL)
    image_expert_url: str = Field(default="", pattern=EXPERT_URL)

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
    """The arguments, with SIEVE_TEXT_EXPERT_URL and SIEVE_IMAGE_EXPERT_URL for URLs that no argument gives.

    Raises SettingsError if a variable is not such a URL.
    """
    fields = ("text_expert_url", "image_expert_url")
    stated = {field: url for field in fields if (url := variables.get(f"SIEVE_{field.upper()}"))}
    try:
        return Arguments.model_validate(stated | arguments.model_dump(exclude_unset=True))
    except ValidationError as error:
        name = f"SIEVE_{str(error.errors()[0]['loc'][0]).upper()}"
        raise SettingsError(f"{name}: must be http://HOST or http://HOST:PORT, got something else; mend it") from None
