"""The client of an expert on any server of the Open Inference Protocol: what it serves is checked, then it is asked."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from serving.arrays import Array, Logits
from serving.errors import MalformedError, StageDownError, StageError
from serving.expert.call import Ran
from serving.expert.graph_form import Metadata, output_of, require_form, version_of
from serving.expert.outages import Outages
from serving.expert.server import NotThereError, Server
from serving.model.artifact import Artifact, VariantName
from serving.model.golden import GoldenCheck, compared, golden_of, no_golden
from serving.model.preprocess import preprocessor
from serving.model.runner import MAX_ROWS
from serving.model.windows import groups

DESCRIBE_LIMIT_S = 0.5
# The server may load the model at its first call.
AGREE_LIMIT_S = 10.0
TRIES = 3
# Requests of one call that the server has at the same time, where it takes more than one.
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Agreed:
    """The version that is asked, the variant behind it, the server's platform, and what became of the golden items."""

    version: str
    variant: VariantName
    platform: str
    golden: GoldenCheck


class OtherServer:
    """An expert, of `artifact`, on another server, which the log calls `tag`.

    Before the first call, and again when the server was away, its metadata is held against the artifact and its golden
    items are asked. `vouched` is a version that is asked whatever digest it has: then the golden items must hold, each
    time that it is described, too.
    `variant` is the one that runs there if the server does not say. `tell` is given what was agreed each time.

    Calls change nothing, so a call whose connection breaks is made again. The items of a variant that is `alone` go in
    one request each, because the server would run them together. Raises ArtifactError for golden items or a tokeniser
    that cannot be read.
    """

    def __init__(
        self,
        server: Server,
        tag: str,
        artifact: Artifact,
        variant: VariantName,
        *,
        vouched: str = "",
        tell: Callable[[Agreed], None] | None = None,
    ) -> None:
        self._server, self._outages = server, Outages(tag)
        self._artifact, self._variant, self._vouched, self._tell = artifact, variant, vouched, tell
        self._preprocess = preprocessor(artifact)
        self._golden = {name: golden_of(artifact, name) for name in artifact.manifest.variants}
        self._agreed: Agreed | None = None
        self._agreeing: asyncio.Task[Agreed] | None = None

    async def __call__(self, items: Sequence[Array], traceparent: str | None = None, left_ms: float = math.inf) -> Ran:
        """Prepared items -> the expert's reply, whose time in the session is that of the whole call.

        Raises StageRefusedError when the server is overloaded, StageLateError when it gave up at the deadline, and
        StageDownError for every other failure.
        """
        until_s = time.monotonic() + left_ms / 1e3
        with self._outages:
            for _ in range(TRIES - 1):
                try:
                    return await self._ask(items, traceparent, until_s)
                except (ConnectionError, NotThereError):  # it has stopped, and may be another one when it is back
                    self._server.close_idle()
            return await self._ask(items, traceparent, until_s)

    async def describe(self) -> dict[str, str]:
        """The variant that runs there and the server's platform; else `error` says why not. Looks at the metadata."""
        try:
            async with asyncio.timeout(DESCRIBE_LIMIT_S):
                agreed = self._agreed
                if agreed is not None:
                    agreed = self._same(await self._server.metadata(self._vouched), agreed)
                agreed = agreed or await self._agree()
        except StageError as error:
            return {"error": str(error)}
        except (OSError, MalformedError) as error:
            return {"error": f"the expert does not answer ({type(error).__name__})"}
        return {
            "asked": self._artifact.manifest.variants[agreed.variant].provider,
            "got": agreed.platform or "not told",
            "version": agreed.version or "the server's own choice",
            "variant": agreed.variant,
            "against": agreed.golden.against,
        }

    async def close(self) -> None:
        """Close the connections that are idle."""
        await self._server.close()

    async def _ask(self, items: Sequence[Array], traceparent: str | None, until_s: float) -> Ran:
        agreed = self._agreed or await self._agree()
        begin_s = time.monotonic()
        try:
            logits = await self._run(agreed, items, traceparent, until_s)
        except (StageDownError, OSError, MalformedError):
            if self._agreed is agreed:
                self._agreed = None
            raise
        return Ran(logits, (time.monotonic() - begin_s) * 1e3, None)

    async def _run(self, agreed: Agreed, items: Sequence[Array], traceparent: str | None, until_s: float) -> Logits:
        most = 1 if self._artifact.manifest.variants[agreed.variant].alone else MAX_ROWS
        parts = list(groups(items, most))
        if len(parts) == 1:
            return await self._part(agreed, items, traceparent, until_s)
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(part: slice) -> Logits:
            async with turns:
                return await self._part(agreed, items[part], traceparent, until_s)

        asked = [asyncio.ensure_future(in_turn(part)) for part in parts]
        try:
            return np.concatenate(await asyncio.gather(*asked))
        finally:
            for each in asked:
                each.cancel()

    async def _part(self, agreed: Agreed, items: Sequence[Array], traceparent: str | None, until_s: float) -> Logits:
        """The logits of items that go in one request."""
        inputs: Mapping[str, Array] = self._preprocess.collate(items)
        rows = len(next(iter(inputs.values())))
        left_ms = max(0.0, until_s - time.monotonic()) * 1e3
        logits = await self._server.infer(agreed.version, inputs, traceparent, left_ms)
        wanted = (rows, *output_of(self._artifact.manifest).shape[1:])
        if logits.shape != wanted:
            raise MalformedError("reply", f"must hold logits of the shape {list(wanted)}, got {list(logits.shape)}")
        return logits if rows == len(items) else self._preprocess.merged(logits, items)

    async def _agree(self) -> Agreed:
        """What is agreed with the server. It may take longer than a call has, so it goes on when the call ends."""
        if self._agreeing is None:
            self._agreeing = asyncio.create_task(self._looked_at())
            self._agreeing.add_done_callback(self._have_agreed)
        return await asyncio.shield(self._agreeing)

    def _have_agreed(self, agreeing: asyncio.Task[Agreed]) -> None:
        self._agreeing = None
        if agreeing.cancelled():
            return
        error = agreeing.exception()  # whoever waits gets it, too
        if error is None:
            self._agreed = agreeing.result()
            if self._tell is not None:
                self._tell(self._agreed)
        elif isinstance(error, StageDownError):
            self._agreed = None

    async def _looked_at(self) -> Agreed:
        async with asyncio.timeout(AGREE_LIMIT_S):
            version, variant = self._identified(await self._server.metadata(self._vouched))
            said = await self._server.metadata(version)
            require_form(self._artifact.manifest, said)
            golden = await self._golden_check(Agreed(version, variant, said.platform, GoldenCheck(against="")))
            if self._vouched and golden.against:
                raise StageDownError(
                    f"version {self._vouched} is asked because the URL names it, and is no such model: {golden.against}"
                )
            return Agreed(version, variant, said.platform, golden)

    async def _golden_check(self, agreed: Agreed) -> GoldenCheck:
        golden = self._golden[agreed.variant]
        if golden is None:
            return no_golden(self._artifact, agreed.variant)
        got = await self._run(agreed, golden.items, None, math.inf)
        return compared(self._artifact, agreed.variant, golden, got, ", this is another server")

    def _identified(self, said: Metadata) -> tuple[str, VariantName]:
        """The version to ask and the variant behind it. Raises StageDownError where the server has another artifact."""
        digest, variants = said.parameters.get("digest"), self._artifact.manifest.variants
        if digest not in (None, self._artifact.digest):
            raise StageDownError(f"the server serves artifact {digest:.12}, {self._wanted()}")
        named = said.parameters.get("variant")
        if self._vouched or digest is not None:
            variant = next((name for name in variants if name == named), self._variant)
            numbered = version_of(self._artifact.digest, variant)
            return self._vouched or (numbered if numbered in said.versions else ""), variant
        for variant in (self._variant, *variants):
            if (version := version_of(self._artifact.digest, variant)) in said.versions:
                return version, variant
        raise StageDownError(
            f"the server does not say that it serves this artifact: of its {len(said.versions)} versions none is "
            f"{version_of(self._artifact.digest, self._variant)}, and {self._wanted()}; serve what `python -m optimize "
            "export-triton` writes, or vouch for a version: oip+http://HOST:PORT/MODEL/versions/VERSION"
        )

    def _wanted(self) -> str:
        return (
            f"the operating point was chosen for {self._artifact.digest:.12}; it is not asked until both are of one run"
        )

    def _same(self, said: Metadata, agreed: Agreed) -> Agreed | None:
        """What was agreed, if the server still says the same; else None: it is to be looked at again.

        A version that is vouched for says nothing: only its golden items do.
        """
        try:
            same = self._identified(said) == (agreed.version, agreed.variant)
            return agreed if same and not self._vouched else None
        except StageDownError:
            self._agreed = None
            raise
