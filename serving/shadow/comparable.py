"""Which cascade can be the shadow of which."""

from __future__ import annotations

from serving.cascade.modality import StoredCascade, takes_pairs
from serving.errors import ArtifactError
from serving.model.head import head_of


class Comparable:
    """Holds shadows against the first served cascade of their kind. Shadows are shown last."""

    def __init__(self) -> None:
        self._first: dict[str, StoredCascade] = {}

    def require(self, found: StoredCascade, kind: str, *, shadow: bool) -> None:
        """Take in a cascade for `kind`. Raises ArtifactError for a shadow that cannot be compared."""
        if shadow:
            require_comparable(found, self._first[kind])
        else:
            self._first.setdefault(kind, found)


def require_comparable(shadow: StoredCascade, served: StoredCascade) -> None:
    """Raise ArtifactError where a shadow takes or gives something else than the served cascade."""
    ours, theirs = (_form(each) for each in (shadow, served))
    if ours != theirs:
        raise ArtifactError(
            f"the shadow {shadow.name} must take what {served.name} takes and have its labels, got one that does not; "
            "name another cascade, or leave the shadow out"
        )


def _form(cascade: StoredCascade) -> tuple[object, ...]:
    screen = cascade.screen.artifact
    manifest = screen.manifest
    return manifest.settings.kind, takes_pairs(screen), head_of(manifest).field, frozenset(manifest.labels)
