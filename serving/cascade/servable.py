"""Whether a cascade can be served as the arguments ask, looked at before any worker starts."""

from __future__ import annotations

from serving.arguments import Arguments, Chosen
from serving.cascade.modality import StoredCascade, require_kind
from serving.cascade.promise import require_promise_of
from serving.model.device import AUTO, Wanted
from serving.model.session import require_device


def require_servable(found: StoredCascade, chosen: Chosen, arguments: Arguments, wanted: Wanted = AUTO) -> None:
    """Raise ArtifactError unless a cascade is for the inputs it was chosen for, and with `strict` keeps its promise.

    Raises ProviderError where its expert is to run on this machine and cannot run where `wanted` says.
    """
    require_kind(found.screen.artifact, chosen.kind)
    url = arguments.expert_url(chosen)
    if not url:
        require_device(found.expert.artifact, wanted)
    if arguments.strict:
        require_promise_of(found, url, arguments.expert_tls, wanted)
