"""The cascades of an API process: opened when it starts, and switched when an operator asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from serving.arguments import Chosen
from serving.audit.auditor import Watched
from serving.audit.note import Ways
from serving.audit.shared import folder_of
from serving.audit.state import Told
from serving.cascade.audited import auditor_of
from serving.cascade.drift import Drift
from serving.cascade.modality import Modality, StoredCascade
from serving.cascade.opening import Entry, Store, find_cascade, open_cascade
from serving.cascade.served import Served
from serving.cascade.switching import Switching
from serving.cascade.versions import Versions
from serving.ending import in_one_sentence
from serving.expert.loading import load_expert
from serving.expert.open_client import open_client
from serving.expert_tls import ExpertTls
from serving.expert_url import other_place
from serving.heap import in_one_heap_now, mapped_apart
from serving.http.admin import AdminKey, admin_document, admin_endpoints
from serving.http.fast_path import Endpoint
from serving.http.openapi import NOTHING_BESIDE, Document
from serving.settings import Settings
from serving.watch.metrics import Metrics
from serving.watch.tracing import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a cascade comes from: its three models at the start, and the URL of its expert."""

    chosen: Chosen
    models: Sequence[Entry]
    expert_url: str


class Cascades:
    """Opens the cascades of these `origins`; a version that operators have asked for comes before the one of the start.

    An error in one of them ends the process with one sentence. `store` has all versions, `tls` is for https.
    """

    def __init__(
        self,
        origins: Sequence[Origin],
        store: Store,
        settings: Settings,
        metrics: Metrics,
        tracer: Tracer | None,
        *,
        tls: ExpertTls,
        versions: Versions,
        key: AdminKey,
    ) -> None:
        self._origins: Mapping[str, Origin] = {origin.chosen.name: origin for origin in origins}
        self._store, self._settings, self._tls, self._key = store, settings, tls, key
        self._versions = versions
        self._audit_folder = folder_of(settings.audit_folder, versions.folder)
        self.ways = self._open_ways()
        self._metrics, self._tell_call = metrics, tracer.call_ended if tracer else None
        self.served = Served()
        wanted = versions.wanted()
        for name, origin in self._origins.items():
            with in_one_sentence(name):
                found = self._find(name, wanted[name].version) if name in wanted else open_cascade(*origin.models)
                self.served.put(in_one_heap_now(self._open, found))
        for opened in self.served:
            metrics.watch_modality(opened)
        self._audits: dict[str, asyncio.Task[None]] = {}
        self._switching = Switching(self.served, versions, self._find, self._open, self._load_expert, self._watch)
        self.endpoints: dict[str, Endpoint] = admin_endpoints(self._origins, self._switching.switch, key)
        self._following: asyncio.Task[None] | None = None

    def _open_ways(self) -> Ways | None:
        if not self._settings.audit_url:
            return None
        from serving.audit.over_broker import WaysOverBroker  # its client takes 15 MB and a tenth of a second to start

        return WaysOverBroker(self._settings.audit_url, self._audit_folder)

    def document(self) -> Document:
        """What the OpenAPI document says of the address for operators."""
        return admin_document(self._origins) if self._key.stated else NOTHING_BESIDE

    def follow(self) -> None:
        """Audit, and switch from now on when another process of this server does."""
        if self.ways is not None:
            self.ways.start()
        for opened in self.served:
            self._audit(opened)
        if self._key.stated:
            self._following = asyncio.get_running_loop().create_task(self._switching.follow())

    def _find(self, name: str, version: str | None) -> StoredCascade:
        return find_cascade(self._store, name, version)

    def _open(self, found: StoredCascade) -> Modality:
        expert, origin = found.expert, self._origins[found.name]
        variant, declare = found.point.point.expert_variant, self._metrics.expert_reporter(origin.chosen)
        client = open_client(origin.expert_url, expert.tag, expert.artifact, variant, self._tls, declare)
        tell: Callable[[Drift], None] = self._metrics.drift_reporter(origin.chosen)

        def tell_drift(drift: Drift) -> None:
            # Another version is silent: one that is not served yet, or no more.
            if self.served.versions.get(found.name, found.version) == found.version:
                tell(drift)

        with mapped_apart():
            opened = Modality(found, client, self._settings, tell_drift=tell_drift, tell_call=self._tell_call)
        report = self._metrics.audit.reporter(self._metrics.of(opened), found.point.point.promise.alpha)

        def tell_audit(told: Told, watched: Watched) -> None:
            if self.served.versions.get(found.name, found.version) == found.version:
                report(told, watched)

        opened.auditor = auditor_of(opened, self._settings, self._audit_folder, tell_audit, self.ways)
        return opened

    def _watch(self, opened: Modality, before: Modality) -> None:
        self._metrics.watch_modality(opened, before)
        self._audit(opened)

    def _audit(self, opened: Modality) -> None:
        """Keep the audit of a cascade from now on, in the place of that of the version before."""
        before = self._audits.pop(opened.name, None)
        if before is not None:
            before.cancel()
        if opened.auditor is not None:
            self._audits[opened.name] = asyncio.get_running_loop().create_task(opened.auditor.run())

    async def _load_expert(self, opened: Modality) -> None:
        url = self._origins[opened.name].expert_url
        if other_place(url) is None:  # other servers have several versions, and are asked next whether this is one
            await load_expert(url, self._tls, self._key.stated, opened.expert_tag)
