"""make bench: the hot path against the model alone and against FastAPI, on this machine, in one run.

1. serve copies of the demo's text cascade: the expert behind an empty screen (everything escalates), the screen alone,
   and empty models in both places; the FastAPI baseline, and a bare application that writes the same answer
2. alternating rounds: the model alone in process (batch 1 and 32), the expert and FastAPI at 1, 8 and 32 connections,
   the screen at 1 and 32, the empty models at 32 and at 1, and the bare application at 32
3. Poisson arrivals at 0.7 to 10 times the expert's saturation, where everything escalates, and at 0.7 to 5 times the
   API's, where nothing does; the generator shares the cores
4. 100,000 escalations and 200,000 answers of empty models: lost escalations, and growth of memory
5. build/bench.json holds every figure and its bound; the terminal shows which bounds hold

All texts have 32 tokens. Every ONNX Runtime session has one thread.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from benchmarks.bench_tables import said
from benchmarks.bounds import CONNECTIONS, bounds, spread
from benchmarks.command import end_with
from benchmarks.homes import ALWAYS, NEVER, make_home
from benchmarks.loads import EXPERT_TIMES, SCREEN_TIMES, loads
from benchmarks.published import Published
from benchmarks.servers import bare, fastapi, rss_bytes, sieve
from benchmarks.texts import TOKENS, encoder, text_of
from loadtest.machine import machine
from loadtest.traffic.process import Running
from loadtest.traffic.wrk import closed_loop
from optimize.progress import console
from optimize.versions import versions
from serving.model.artifact import Artifact, write_json
from serving.model.session import Session

CASCADE = "demo-text"
ROUNDS, SECONDS = 3, 4.0
OUTPUT = Path("build") / "bench.json"

Body = Mapping[str, object]


def main() -> int:
    demo, busy = Published(CASCADE), os.getloadavg()[0]
    text = text_of(TOKENS, demo.expert)
    patient: Body = {"text": text, "budget_ms": 1000}
    with tempfile.TemporaryDirectory(prefix="sieve-bench-") as name, contextlib.ExitStack() as stack:
        servers = start(demo, Path(name), stack)
        answer = httpx.post(f"{servers['empty'].url}/classify_text", json=patient).text
        servers["bare"] = stack.enter_context(bare(Path(name), answer))
        rounds = []
        for number in range(ROUNDS):
            console.print(f"rounds: {number + 1} of {ROUNDS}")
            rounds.append(one_round(servers, demo, text, patient))
        spreads = {key: spread([each[key] for each in rounds]) for key in rounds[0]}
        expert = loads(servers["expert"].url, text, spreads["expert_32_per_s"]["median"], EXPERT_TIMES)
        screen = loads(servers["screen"].url, text, spreads["screen_32_per_s"]["median"], SCREEN_TIMES)
        lasting = endurance(servers, patient)
    figures = {"rounds": spreads, "expert_loads": expert, "screen_loads": screen, "endurance": lasting}
    rows = bounds(spreads, expert, screen, lasting)
    report = {"machine": machine(), "versions": versions(), "tokens": TOKENS, "load_average_before": busy}
    OUTPUT.parent.mkdir(exist_ok=True)
    write_json(OUTPUT, report | {"figures": figures, "bounds": rows})
    for row in rows:
        mark = "holds      " if row["holds"] else "FALLS SHORT"
        console.print(f"{mark} {row['what']}: {said(row)}, {row['asked']} asked")
    console.print(f"all figures: {OUTPUT}")
    return 0


def start(demo: Published, folder: Path, stack: contextlib.ExitStack) -> dict[str, Running]:
    """All servers of a run, which end with `stack`."""

    def served(label: str, threshold: float, *empty: str) -> Running:
        console.print(f"starting {label}")
        home = make_home(folder / label, demo.store, CASCADE, threshold=threshold, empty=empty)
        return stack.enter_context(sieve(home, CASCADE))

    expert = demo.expert
    graph, tokenizer = expert.variant_path(expert.manifest.default_cpu), expert.folder / "tokenizer.json"
    return {
        "expert": served("expert", ALWAYS, "screen"),
        "screen": served("screen", NEVER),
        "empty": served("empty", NEVER, "screen", "expert"),
        "hop": served("hop", ALWAYS, "screen", "expert"),
        "fastapi": stack.enter_context(fastapi(folder, graph, tokenizer, expert.manifest.labels)),
    }


def one_round(servers: Mapping[str, Running], demo: Published, text: str, body: Body) -> dict[str, float]:
    """One round: every closed-loop measurement once, by key."""
    got = {f"alone_{key}": value for key, value in alone(demo.expert, text).items()}
    got["screen_alone_p50_ms"] = alone(demo.screen, text)["p50_ms"]
    turns = [(name, connections) for connections in CONNECTIONS for name in ("expert", "fastapi")]
    for name, connections in [*turns, ("screen", 1), ("screen", 32), ("empty", 32), ("bare", 32), ("hop", 1)]:
        figures = closed_loop(f"{servers[name].url}/classify_text", body, connections=connections, seconds=SECONDS)
        got |= {f"{name}_{connections}_{key}": figures[key] for key in ("per_s", "p50_ms", "p99_ms")}
    return got


def alone(artifact: Artifact, text: str) -> dict[str, float]:
    """The model in this process: sequences a second at batch size 1 and 32, and p50 of tokenising and running one."""
    session, preprocess = Session(artifact, artifact.manifest.default_cpu), encoder(artifact)
    item = preprocess.encode(text)
    batches = {size: preprocess.collate([item] * size) for size in (1, 32)}
    one_ms = timed(lambda: session.run(preprocess.collate([preprocess.encode(text)])), SECONDS / 2)
    run_ms = timed(lambda: session.run(batches[1]), SECONDS / 2)
    many_ms = timed(lambda: session.run(batches[32]), SECONDS / 2)
    return {
        "p50_ms": statistics.median(one_ms),
        "run_p50_ms": statistics.median(run_ms),
        "1_per_s": 1e3 * len(run_ms) / sum(run_ms),
        "32_per_s": 32e3 * len(many_ms) / sum(many_ms),
    }


def timed(call: Callable[[], object], seconds: float) -> list[float]:
    """Milliseconds of each call during `seconds`, after three calls that warm up."""
    for _ in range(3):
        call()
    took, end = [], time.perf_counter() + seconds
    while (begin := time.perf_counter()) < end:
        call()
        took.append((time.perf_counter() - begin) * 1e3)
    return took


def endurance(servers: Mapping[str, Running], body: Body) -> dict[str, float]:
    """Empty models: escalations without the expert's answer, and growth of the API process."""
    console.print("100,000 escalations")
    hop, sent = servers["hop"], 0.0
    before = degraded_answers(hop.url)
    while sent < 100_000:
        sent += closed_loop(f"{hop.url}/classify_text", body, connections=16, seconds=10)["requests"]
    lost = degraded_answers(hop.url) - before
    console.print("200,000 requests")
    empty, done, sizes = servers["empty"], 0.0, []
    while done < 200_000:
        done += closed_loop(f"{empty.url}/classify_text", body, connections=16, seconds=5)["requests"]
        sizes.append((done, rss_bytes(empty, "--service-name sieve")))
    return {
        "escalations": sent,
        "escalations_lost": lost,
        "requests": done,
        "rss_bytes_after_20000": next(size for seen, size in sizes if seen >= 20_000),
        "rss_bytes_at_the_end": sizes[-1][1],
        "longest_ms": closed_loop(f"{empty.url}/classify_text", body, connections=1, seconds=10)["max_ms"],
    }


def degraded_answers(url: str) -> float:
    """Items that got the screen's answer in place of the expert's, as the service counts them.

    Items whose client hung up are left out, because wrk hangs up when its time is over.
    """
    text = httpx.get(f"{url}/metrics").text
    counts = re.findall(r"^sieve_answers_total(\{.*\}) (\S+)$", text, re.MULTILINE)
    return sum(float(n) for labels, n in counts if not re.search('degraded="(no|gone)"', labels))


if __name__ == "__main__":
    end_with(main)
