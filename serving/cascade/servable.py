"""Whether a cascade can be served as the arguments ask, looked at before any worker starts."""

from __future__ import annotations

from serving.arguments import Arguments, Chosen
from serving.cascade.modality import StoredCascade, require_kind
from serving.cascade.promise import require_promise
from serving.expert.open_client import open_client


def require_servable(found: StoredCascade, chosen: Chosen, arguments: Arguments) -> None:
    """Raise ArtifactError unless a cascade is for the inputs it was chosen for, and with `strict` keeps its promise."""
    screen, expert = found.screen.artifact, found.expert.artifact
    require_kind(screen, chosen.kind)
    if arguments.strict:
        url, point = arguments.expert_url(chosen), found.point.point
        of = (chosen.name, expert, point.expert_variant, arguments.expert_tls)
        require_promise(screen, expert, point, open_client(url, *of) if url else None)
