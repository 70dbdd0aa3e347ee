"""What BentoML is told of each service: only what its own defaults (1.4.40) do badly."""

from __future__ import annotations

from typing import Any

from serving.settings import Settings

# A label of BentoML's own metrics is the requested address, which a client can make up. Ours count the same and more.
QUIET: dict[str, Any] = {"logging": {"access": {"enabled": False}}, "metrics": {"enabled": False}}
EXPERT_CONFIG: dict[str, Any] = {
    **QUIET,
    "traffic": {"timeout": 2},
    "workers": 1,
    # By default BentoML's client of a service closes its session after 100 requests, with others in flight.
    "runner_connection": {"max_requests": 10**12, "max_age": 1e9},
}


def api_config(settings: Settings) -> dict[str, Any]:
    """The configuration of the API's service."""
    config: dict[str, Any] = {
        **QUIET,
        # BentoML keeps a timer and the context of each request alive for so many seconds, even after its answer
        # (TimeoutMiddleware). Only requests that are not on the fast path go through it.
        "traffic": {"timeout": 10},
        "workers": settings.workers,
    }
    if settings.cors_origins:  # else BentoML's own configuration of CORS holds
        origins = list(settings.cors_origins)
        config["http"] = {"cors": {"enabled": True, "access_control_allow_origins": origins}}
    return config
