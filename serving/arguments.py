"""The arguments of `bentoml serve` and `bentoml build`: which cascades are served, and where their experts are.

BentoML 1.4.39 forgets the arguments of `bentoml serve` where it serves a Bento: those that it was built with count
(`_load_bento` in its loader). What differs from one container of an image to the next is a variable, too.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, Field, ValidationError

from serving.errors import SettingsError

EXPERT_URL = r"^(http://[^/:@]+(:\d+)?)?$"


class Cascades(BaseModel, extra="forbid"):
    """Names of the cascades; NAME-screen, NAME-expert and NAME-operating-point are looked up in the model store.

    `settings`: a TOML file of `serving.settings`, relative to service.py; settings.toml is read where it is there.
    `text_expert_url`, `image_expert_url`: http://HOST:PORT of an expert on another machine; none is started here then.
    `log_requests`: one line of JSON for each request.
    """

    text: str = "demo-text"
    image: str = "demo-image"
    settings: str = ""
    log_requests: bool = False
    text_expert_url: str = Field(default="", pattern=EXPERT_URL)
    image_expert_url: str = Field(default="", pattern=EXPERT_URL)

    @property
    def served(self) -> dict[str, str]:
        """The names, by the kind of input."""
        return {kind: name for kind, name in (("text", self.text), ("image", self.image)) if name}

    def expert_url(self, kind: str) -> str:
        """Where the expert for this kind of input is; empty where it is started here."""
        return {"text": self.text_expert_url, "image": self.image_expert_url}[kind]

    @property
    def any_remote(self) -> bool:
        """Whether an expert is on another machine."""
        return any(self.expert_url(kind) for kind in self.served)


def with_variables(arguments: Cascades, variables: Mapping[str, str]) -> Cascades:
    """The arguments, with SIEVE_TEXT_EXPERT_URL and SIEVE_IMAGE_EXPERT_URL where they do not say. Raises SettingsError
    where one of these is no address.
    """
    fields = ("text_expert_url", "image_expert_url")
    stated = {field: url for field in fields if (url := variables.get(f"SIEVE_{field.upper()}"))}
    try:
        return Cascades.model_validate(stated | arguments.model_dump(exclude_unset=True))
    except ValidationError as error:
        name = f"SIEVE_{str(error.errors()[0]['loc'][0]).upper()}"
        raise SettingsError(f"{name}: must be http://HOST or http://HOST:PORT, got something else; mend it") from None
