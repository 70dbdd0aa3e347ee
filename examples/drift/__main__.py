"""python -m examples.drift: labels shift while confidences stay; drift is silent, and the audit speaks.

1. looks for texts that the screen is sure of and answers otherwise than the expert: rare in the usual traffic
2. serves the cascade and sends the usual traffic, then a mix in which such texts are a share of all: to the screen they
   look like any other, so its confidences hardly move
3. asks `GET /models` again and again, until the audit says that the promise is broken
4. prints after how many requests that was, and draws what drift and audit have seen: build/drift.svg
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import httpx
import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.homes import make_home
from benchmarks.published import Published
from benchmarks.servers import sieve
from loadtest.errors import LoadTestError
from optimize.data.payments import generate
from serving.model.head import differ, head_of
from serving.model.preprocess import items_of, preprocessor
from serving.model.runner import Runner
from serving.model.session import Session

POOL, SEED = 6_000, 5
LOOK_EVERY, AT_ONCE = 250, 16
BATCH = 16
BUDGET_MS = 1_000


class Look(NamedTuple):
    """What `/models` said after so many requests. `rate` is observed by the audit since the last change."""

    requests: int
    psi: float
    drifted: bool
    rate: float
    promise: str


class Silent(Exception):  # noqa: N818  # it says what happened
    """The audit did not speak."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m examples.drift", description=str(__doc__).split("\n")[0])
    parser.add_argument("--cascade", default="demo-text", help="a cascade for texts of the model store (demo-text)")
    parser.add_argument("--texts", type=Path, help="a file with the usual texts, one a line (else the demo's)")
    parser.add_argument("--usual", type=int, default=4_000, help="requests before the shift (4000)")
    parser.add_argument("--shifted", type=int, default=40_000, help="requests after it, at most (40000)")
    parser.add_argument("--misread-share", type=float, default=0.08, help="of the requests after it (0.08)")
    parser.add_argument("--audit-share", type=float, default=0.05, help="the setting (0.05)")
    parser.add_argument("--out", type=Path, default=Path("build") / "drift.svg", help="the picture (build/drift.svg)")
    options = parser.parse_args()
    published = Published(options.cascade)
    texts = options.texts.read_text("utf-8").splitlines() if options.texts else usual_texts()
    misread = misread_of(published, texts)
    print(f"{len(misread)} of {len(texts)} texts are misread by a screen that is sure of them", flush=True)
    if not misread:
        raise Silent("the traffic needs texts that the screen is sure of and the expert answers otherwise; give more")
    rng = random.Random(SEED)
    usual = rng.choices(texts, k=options.usual)
    shifted = [
        rng.choice(misread) if rng.random() < options.misread_share else rng.choice(texts)
        for _ in range(options.shifted)
    ]
    with tempfile.TemporaryDirectory(prefix="sieve-drift-") as name:
        home = make_home(Path(name) / "home", published.store, published.name, threshold=None)
        settings = Path(name) / "settings.toml"
        settings.write_text(f"workers = 1\naudit_share = {options.audit_share}\n", encoding="utf-8")
        with sieve(home, published.name, settings=settings) as server:
            looks = asyncio.run(watched(server.url, usual, shifted))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    draw(looks, options.usual, published.point.promise.alpha, published.point.band.max_psi, options.out)
    last = looks[-1]
    if last.promise != "broken":
        raise Silent(f"the audit was silent for {last.requests - options.usual} requests after the shift; send more")
    drifted = next((look.requests for look in looks if look.drifted), None)
    said = "drift was silent" if drifted is None else f"drift spoke at request {drifted}"
    print(f"the audit spoke {last.requests - options.usual} requests after the shift; {said}: {options.out}")
    return 0


def usual_texts() -> list[str]:
    """Messages of the demo that no recipe has seen."""
    return [text for text, _ in generate(POOL, seed=SEED)]


def misread_of(published: Published, texts: Sequence[str]) -> list[str]:
    """The texts that the screen is trusted with and answers otherwise than the expert."""
    point, stages = published.point, (published.screen, published.expert)
    prepare = (preprocessor(published.screen), preprocessor(published.expert))
    variants = (point.screen_variant, point.expert_variant)
    runners = [
        Runner(Session(stage, variant), each) for stage, variant, each in zip(stages, variants, prepare, strict=True)
    ]
    ours, theirs = (head_of(stage.manifest) for stage in stages)
    found: list[str] = []
    for start in range(0, len(texts), BATCH):
        some = texts[start : start + BATCH]
        items = [items_of(*prepare, text) for text in some]
        screened = runners[0].run([each.screen for each in items])
        asked = runners[1].run([each.expert for each in items])
        trusted = ours.confidences(screened, point.screen_temperature) >= point.threshold
        wrong = trusted & differ(ours.decide(screened), theirs.decide(asked))
        found += [text for text, is_wrong in zip(some, wrong, strict=True) if is_wrong]
    return found


async def watched(url: str, usual: Sequence[str], shifted: Sequence[str]) -> list[Look]:
    """Send the usual texts, then the shifted ones until the promise is broken, and look every LOOK_EVERY requests."""
    looks: list[Look] = []
    texts = [*usual, *shifted]
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        for start in range(0, len(texts), LOOK_EVERY):
            await send(client, texts[start : start + LOOK_EVERY])
            await asyncio.sleep(1.0)  # the audit tells once a second
            looks.append(look(start + LOOK_EVERY, (await client.get("/models")).json()["text"]))
            if looks[-1].promise == "broken":
                break
    return looks


async def send(client: httpx.AsyncClient, texts: Sequence[str]) -> None:
    """Ask about the texts, AT_ONCE at a time."""
    left = iter(texts)

    async def ask() -> None:
        for text in left:
            await client.post("/classify_text", json={"text": text, "budget_ms": BUDGET_MS})

    await asyncio.gather(*(ask() for _ in range(AT_ONCE)))


def look(requests: int, said: dict[str, dict[str, float]]) -> Look:
    drift, audit = said["drift"], said["audit"]
    return Look(requests, drift["psi"], bool(drift["drifted"]), audit["rate"], str(audit["promise"]))


def draw(looks: Sequence[Look], shift: int, alpha: float, max_psi: float, out: Path) -> None:
    """Above the index of drift, below the audit's rate of other answers; a line where the labels shift."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sieve", "font.size": 9})
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    at = [each.requests for each in looks]
    above.plot(at, [each.psi for each in looks], "k-", label="index of the confidences")
    above.axhline(max_psi, color="0.5", linestyle="--", label="drift speaks above")
    above.set(ylabel="drift", ylim=(0, 1.3 * max(max_psi, *(each.psi for each in looks))))
    # The evidence begins anew with the break, so the rate of the last look is no longer that of the audited items.
    counted = [each for each in looks if each.promise != "broken"]
    below.plot([e.requests for e in counted], [100 * e.rate for e in counted], "k-", label="other than the expert's")
    below.axhline(100 * alpha, color="0.5", linestyle="--", label="promised at most")
    below.set(ylabel="% of answers, by the audit", xlabel="requests", ylim=(0, None))
    for axes in (above, below):
        axes.axvline(shift, color="0.5", linestyle=":", label="labels shift")
        if looks[-1].promise == "broken":
            axes.axvline(at[-1], color="k", linestyle="-.", label="the audit says: broken")
        axes.legend(loc="upper left", frameon=False)
    figure.savefig(out, format="svg", metadata={"Date": None})


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Silent, LoadTestError) as error:
        sys.exit(str(error))
