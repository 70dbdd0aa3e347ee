"""The cascades that this process serves, and which of them answers a request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from serving.cascade.modality import Modality
from serving.errors import NotServedError


class Served:
    """Cascades by the kind of their input and by their names. The first of a kind answers requests that name none."""

    def __init__(self, cascades: Iterable[Modality] = ()) -> None:
        self._of_kind: dict[str, dict[str, Modality]] = {}
        self._default: dict[str, Modality] = {}
        self.by_any_name: dict[str, Modality] = {}
        """By name, and the default of a kind also by the kind, which hides a cascade that is called so."""
        for each in cascades:
            self.put(each)

    def put(self, cascade: Modality) -> None:
        """Serve a cascade, from now on in the place of the one of its name if there is one.

        A request keeps the cascade that it has found.
        """
        named = self._of_kind.setdefault(cascade.kind, {})
        named[cascade.name] = cascade
        self._default[cascade.kind] = next(iter(named.values()))
        self.by_any_name = {each.name: each for each in self} | self._default

    def __iter__(self) -> Iterator[Modality]:
        return iter([each for named in self._of_kind.values() for each in named.values()])

    @property
    def versions(self) -> dict[str, str]:
        """The version of each cascade, by its name."""
        return {each.name: each.version for each in self}

    @property
    def defaults(self) -> list[Modality]:
        """The first cascade of each kind of input."""
        return list(self._default.values())

    def names(self, kind: str) -> list[str]:
        """The names of the cascades for `kind`, text or image."""
        return list(self._of_kind.get(kind, ()))

    def default(self, kind: str) -> Modality:
        """The cascade for requests that name none. Raises NotServedError if none is for this kind."""
        found = self._default.get(kind)
        if found is None:
            article = "an" if kind == "image" else "a"
            raise NotServedError(
                f"this service was started without {article} {kind} cascade; start it with --arg {kind}=NAME"
            )
        return found

    def find(self, kind: str, name: str | None) -> Modality:
        """The cascade for `kind` of this name, None for the default. Raises NotServedError if there is none."""
        found = self.default(kind)
        if name is None:
            return found
        named = self._of_kind[kind].get(name)
        if named is None:
            raise NotServedError(
                f"no cascade for {kind}s of this name is served here; use one of these: {', '.join(self.names(kind))}"
            )
        return named
