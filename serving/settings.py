"""How the service uses a machine: processes, threads, batches, admission. `loadtest tune` writes these as TOML."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.cpu import cores
from serving.errors import SettingsError

MAX_BATCH_SIZE = 32
MOST_BATCH_SIZE = 128
"""What `max_batch_size` may be raised to, for an expert on a GPU."""
MAX_BATCH_TOKENS = 16_384
"""As many as the largest batch of a session has: 32 rows of 512 tokens."""
MAX_DEFAULT_WORKERS = 4
"""More API processes are for who wants them: each takes memory for screens of its own."""
LIMITS = {"workers": 256, "calls_in_flight": 16}
DEVICE = r"^(auto|cpu|gpu(:\d{1,3}(,\d{1,3})*)?)$"
"""`auto`, `cpu`, `gpu` for the first GPU, `gpu:1`, or `gpu:0,1` for a session on each."""
DEVICES = "auto, cpu, gpu or as in gpu:0,1"
"""The same for people."""
VARIABLES = {
    "SIEVE_WORKERS": "workers",
    "SIEVE_CALLS_IN_FLIGHT": "calls_in_flight",
    "SIEVE_DEVICE": "device",
    "SIEVE_AUDIT_FOLDER": "audit_folder",
    "SIEVE_AUDIT_URL": "audit_url",
}
BROKERS = r"^((nats|tls)://[^\s,/?#]+(,(nats|tls)://[^\s,/?#]+)*)?$"


def default_workers() -> int:
    """One API process for each core that this process may use, up to MAX_DEFAULT_WORKERS."""
    return min(cores(), MAX_DEFAULT_WORKERS)


ImageFormat = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif", "heif"]
# The decoders of AVIF and HEIC take memory by figures that the head of a file does not state, so whoever wants them
# names them.
IMAGE_FORMATS: tuple[ImageFormat, ...] = ("jpeg", "png", "webp", "gif", "bmp", "tiff")
# What a browser says of the page that asks. Another path or a slash at the end would never match.
Origin = Annotated[str, Field(pattern=r"^(\*|https?://[^/?#@\s]+)$")]


def _network(stated: str) -> str:
    """An address or a network. Raises ValueError for anything else."""
    try:
        ipaddress.ip_network(stated)
    except ValueError:
        raise ValueError("must be an address, or a network such as 10.0.0.0/8") from None
    return stated


Network = Annotated[str, AfterValidator(_network)]


class Settings(BaseModel):
    """The values of a settings file.

    `workers` is the number of API processes, each with its own screens; by default one for each core, up to four.
    `screen_threads` and `expert_threads` are ONNX Runtime threads for each session. `max_batch_size` limits the items
    of one call to an expert, `batch_window_ms` is how long an escalation waits for others to share its call, and
    `calls_in_flight` is how many calls of one API process an expert runs side by side, one on each of its machines.
    `max_batch_tokens` limits the tokens of one call, padding included: items times the length that the longest is
    padded to. `device` is where experts run, `gpu_memory_mb` the most that one session takes of its GPU (0: no
    limit), `gpu_graphs` records CUDA graphs, `gpu_layout` is the layout of pixels there, and `gpu_runtime` is what runs
    graphs there; `engine_folder` keeps the engines of TensorRT. `shadow_share` is the share of the items that a shadow
    is asked about, too, and `shadow_margin` the share of them by which it may be worse.
    `max_in_flight` is the most requests that one API process has in flight. `image_formats` are the formats of image
    files that are read; no other decoder is reached. `cache_mb` are the megabytes of answers that one API process keeps
    for equal requests; 0 keeps none, and joins none. `audit_share` is the share of the screen's own answers that the
    expert is asked about afterwards; 0 audits nothing. `audit_folder` holds what audits know, by default a folder of
    BENTOML_HOME. `audit_url` names the servers of NATS that take audits, and what a shadow asks experts, to workers
    elsewhere. `on_broken` says what follows when audits show a broken promise: `tell`, or `raise` the threshold, too.
    `feedback_memory` are the answers that one API process remembers, so that their right labels may be told later; 0
    remembers none. `keep_payloads` is the share of inputs, with their content, that is kept below `payload_folder`, of
    at most `payload_mb` megabytes; 0 keeps none. `page` shows the page at `/` and the API reference.
    `cors_origins` are the origins whose pages may ask the API from a browser, as in `https://example.org`.
    `requests_per_address` is how many requests a second one address may send; 0 is no limit. `trusted_proxies` are the
    addresses and networks of proxies, whose X-Forwarded-For says from which address a request comes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    workers: int = Field(default_factory=default_workers, ge=1, le=LIMITS["workers"])
    screen_threads: int = Field(default=1, ge=1, le=256)
    expert_threads: int = Field(default=1, ge=1, le=256)
    max_batch_size: int = Field(default=MAX_BATCH_SIZE, ge=1, le=MOST_BATCH_SIZE)
    max_batch_tokens: int = Field(default=MAX_BATCH_TOKENS, ge=512, le=1_048_576)
    batch_window_ms: float = Field(default=0.0, ge=0, le=100)
    calls_in_flight: int = Field(default=1, ge=1, le=LIMITS["calls_in_flight"])
    device: str = Field(default="auto", pattern=DEVICE)
    gpu_memory_mb: int = Field(default=0, ge=0, le=1_048_576)
    gpu_graphs: bool = True
    gpu_layout: Literal["auto", "nchw", "nhwc"] = "auto"
    gpu_runtime: Literal["cuda", "tensorrt"] = "cuda"
    engine_folder: str = Field(default="", pattern=r"^(/.*)?$")
    max_in_flight: int = Field(default=256, ge=8, le=4096)
    # TOML has lists alone, which strict validation takes for no tuple.
    image_formats: tuple[ImageFormat, ...] = Field(default=IMAGE_FORMATS, min_length=1, strict=False)
    cache_mb: int = Field(default=0, ge=0, le=65_536)
    audit_share: float = Field(default=0.01, ge=0, le=1)
    audit_folder: str = Field(default="", pattern=r"^(/.*)?$")
    audit_url: str = Field(default="", pattern=BROKERS, repr=False)  # it may hold a password
    on_broken: Literal["tell", "raise"] = "tell"
    feedback_memory: int = Field(default=0, ge=0, le=10_000_000)
    keep_payloads: float = Field(default=0.0, ge=0, le=1)
    payload_folder: str = Field(default="", pattern=r"^(/.*)?$")
    payload_mb: int = Field(default=64, ge=1, le=1_000_000)
    page: bool = True
    shadow_share: float = Field(default=0.1, ge=0, le=1)
    shadow_margin: float = Field(default=0.005, gt=0, lt=1)
    cors_origins: tuple[Origin, ...] = Field(default=(), strict=False)
    requests_per_address: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    trusted_proxies: tuple[Network, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _payloads_have_a_folder(self) -> Settings:
        if self.keep_payloads and not self.payload_folder:
            raise ValueError("keep_payloads needs payload_folder, the absolute path of a folder for them")
        return self


def settings_of(stated: str, folder: Path) -> Settings:
    """The settings of the file `stated`, relative to `folder`.

    If `stated` is empty: those of settings.toml in `folder` if it exists, else the defaults.
    """
    path = folder / (stated or "settings.toml")
    return read_settings(path) if stated or path.exists() else Settings()


def for_machines(settings: Settings, variables: Mapping[str, str]) -> Settings:
    """The settings, with the variables of VARIABLES in the place of those that they name, where they are set.

    How large a machine is, whether it has a GPU, and how many an expert has, differs between clusters that serve one
    image; so do folders and addresses. Raises SettingsError if a variable breaks its setting's rule.
    """
    for variable, name in VARIABLES.items():
        if stated := variables.get(variable):
            try:
                value = int(stated) if name in LIMITS else stated
                settings = Settings.model_validate({**settings.model_dump(), name: value})
            except ValueError:
                raise SettingsError(
                    f"{variable}: must be {_rule_of(name)}, got something else; mend it or leave it out"
                ) from None
    return settings


def read_settings(path: Path) -> Settings:
    """The settings of a TOML file, with defaults for what it leaves out.

    Raises SettingsError if it cannot be read or breaks a rule.
    """
    try:
        return Settings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise SettingsError(f"{path}: settings must be a file that can be read, got {type(error).__name__}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: settings must be TOML, got something else ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        kind = type(first["input"]).__name__
        known = ", ".join(Settings.model_fields)
        raise SettingsError(
            f"{path}: {where}: {first['msg']}, got a value of type {kind}; mend it or leave it out (known: {known})"
        ) from None


def _rule_of(name: str) -> str:
    """What a variable in the place of a setting must be."""
    if name in LIMITS:
        return f"a whole number from 1 to {LIMITS[name]}"
    return DEVICES if name == "device" else f"what the setting {name} takes"
