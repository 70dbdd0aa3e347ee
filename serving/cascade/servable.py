"""Whether a cascade can be served as the arguments ask, looked at before any worker starts."""

from __future__ import annotations

from serving.arguments import Arguments, Chosen
from serving.cascade.modality import StoredCascade, require_kind
from serving.cascade.promise import require_golden, require_promise_of
from serving.model.device import AUTO, Wanted
from serving.model.session import require_device


def require_servable(
    found: StoredCascade, chosen: Chosen, arguments: Arguments, wanted: Wanted = AUTO, audit_url: str = ""
) -> None:
    """Raise ArtifactError unless a cascade is for the inputs it was chosen for, and with `strict` keeps its promise.

    Raises ProviderError where its expert is to run on this machine and cannot run where `wanted` says. Where workers
    have a shadow's expert (`audit_url`), they check that.
    """
    require_kind(found.screen.artifact, chosen.kind)
    url, starts = arguments.expert_url(chosen), arguments.starts_expert(chosen, audit_url)
    if starts:
        require_device(found.expert.artifact, wanted)
    if arguments.strict and not (url or starts):
        require_golden(found.screen.artifact, found.point.point.screen_variant)
    elif arguments.strict:
        require_promise_of(found, url, arguments.expert_tls, wanted)
