"""`python -m loadtest run` against the served tiny cascades: every exit status, and all that it writes."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from loadtest.verdict.parts import GROUPS
from tests.certificates import certificate
from tests.conftest import ROOT, interruptible
from tests.loadtest.conftest import loadtest
from tests.loadtest.little_server import little_server, ok
from tests.server import Server
from tests.service.test_api import digit

SHORT = ("--seconds", 2, "--warm-up", 0.5, "--arrivals", "poisson:40")
# However slow and shared the machine is that runs these tests.
PATIENT = ("--budget-ms", 1000, "--timeout-s", 30, "--slo", "p99=30s", "--max-degraded", 1, "--max-lag-ms", 60_000)


def read(folder: Path) -> tuple[dict[str, Any], str]:
    return json.loads((folder / "run.json").read_text()), (folder / "run.html").read_text()


def test_a_run_that_passes(server: Server, texts_file: Path, images_folder: Path, tmp_path: Path) -> None:
    mix = ("--texts", texts_file, "--images", images_folder, "--image-share", 0.25, "--image-as", "json",
           "--hard-share", 0.4)  # fmt: skip
    payloads = ("--payloads", "--grpc", server.grpc)
    said = loadtest("run", f"{server.url}/", *SHORT, *PATIENT, *mix, *payloads, "--out", tmp_path).stdout
    result, page = read(tmp_path)
    figures = result["figures"]
    assert result["valid"]
    assert result["passed"]
    assert figures["requests"] == figures["outcomes"]["ok"] + figures["outcomes"]["degraded"] > 40
    assert figures["in_time"] == figures["requests"]
    assert {"short, easy", "short, hard"} <= set(figures["by_shape"])
    assert any(shape.startswith("image") for shape in figures["by_shape"])
    assert 0.1 < figures["escalation_share"] < 0.7, "0.4 were asked for"
    assert 0.5 < figures["accuracy"] <= 1
    assert figures["latency_ms"]["p99.9"]["too_few_samples"]
    for part in (result["idle"]["parts"]["all"], figures["parts"]["all"], figures["parts"]["slowest"]):
        assert sum(part["groups_ms"].values()) == pytest.approx(part["latency_ms"], rel=0.02)
        assert {"read", "tokenise", "screen", "expert"} <= set(part["server_ms"]) or part is figures["parts"]["slowest"]
    assert result["bottleneck"]["group"] in GROUPS
    bytes_of = {(row["item"], row["encoding"]): row["sent_bytes"] for row in result["payloads"]}
    assert len(bytes_of) == 4 + 6
    assert bytes_of["image", "raw"] < bytes_of["image", "grpc"] < bytes_of["image", "multipart"]
    assert bytes_of["image", "raw"] * 1.3 < bytes_of["image", "json"] < bytes_of["image", "oip-json"]
    assert all(row["answered"] == row["requests"] for row in result["payloads"])
    for key in ("client_encode_us", "client_read_us", "server_read_us", "server_encode_us"):
        assert all(0 < row[key] < 1e3 * row["latency_ms"] for row in result["payloads"])

    assert page.count("<svg") == 4
    assert "<h1>Load test: passed</h1>" in page
    assert f"Bottleneck: {result['bottleneck']['group']}" in page
    assert "What serialization costs" in page
    assert "holds  p99 of all that was asked" in said
    assert "image as OIP, gRPC: " in said
    assert said.splitlines()[-2] == "PASSED"
    # A path is of one machine, and a result goes to others.
    assert str(tmp_path.parent) not in json.dumps(result)
    assert result["plan"]["texts"] == "texts.csv"


def test_a_run_that_misses_its_objective(server: Server, texts_file: Path, tmp_path: Path) -> None:
    strict = ("--slo", "p99=0.01ms", "--slo", "p50=30s", "--goodput", 30, "--goodput-degraded", 40)
    options = (*SHORT, *PATIENT, "--texts", texts_file, *strict)
    said = loadtest("run", server.url, *options, "--out", tmp_path, check=1).stdout
    result, page = read(tmp_path)
    assert result["valid"]
    assert not result["passed"]
    # Against the limit of the highest percentile, nothing was in time.
    assert result["figures"]["in_time"] == result["figures"]["goodput_per_s"] == 0
    assert result["figures"]["goodput_with_degraded_per_s"] == 0
    assert {row["what"]: row["holds"] for row in result["objective"] if "p" in row["what"][:1]} == {
        "p99 of all that was asked, ms": False,
        "p50 of all that was asked, ms": True,
    }
    assert "<h1>Load test: failed</h1>" in page
    assert "FAILS  goodput, full answers in time/s: 0, at least 30 asked" in said
    assert "FAILS  goodput with degraded answers, in time/s: 0, at least 40 asked" in said
    assert said.splitlines()[-2] == "FAILED"


def test_degraded_answers_are_no_goodput_of_full_ones(tmp_path: Path) -> None:
    options = (*SHORT, *PATIENT, "--goodput", 1, "--goodput-degraded", 1, "--out", tmp_path)
    with little_server(lambda _: ok(degraded="deadline")) as url:
        said = loadtest("run", url, *options, check=1).stdout
    figures = read(tmp_path)[0]["figures"]
    assert figures["goodput_per_s"] == figures["full"] == 0
    assert figures["in_time"] == figures["requests"] == figures["outcomes"]["degraded"]
    assert "FAILS  goodput, full answers in time/s: 0, at least 1 asked" in said
    assert "holds  goodput with degraded answers, in time/s" in said


def test_a_run_in_which_the_generator_was_late_proves_nothing(server: Server, tmp_path: Path) -> None:
    options = (*SHORT, *PATIENT, "--max-lag-ms", 0.00001)
    said = loadtest("run", server.url, *options, "--out", tmp_path, check=3).stdout
    result, page = read(tmp_path)
    assert all(row["holds"] for row in result["objective"])
    assert not result["valid"]
    assert not result["passed"]
    assert "<h1>Load test: invalid</h1>" in page
    assert said.startswith("INVALID: the generator could not keep its own schedule")
    assert said.splitlines()[-2] == "INVALID"


def test_a_run_over_grpc_reads_answers_as_any_other(server: Server, texts_file: Path, tmp_path: Path) -> None:
    grpc = ("--protocol", "grpc", "--grpc", server.grpc, "--texts", texts_file)
    loadtest("run", server.url, *PATIENT, *grpc, "--seconds", 1, "--warm-up", 0, "--out", tmp_path)
    result, _ = read(tmp_path)
    figures = result["figures"]
    assert figures["requests"] == figures["outcomes"]["ok"] + figures["outcomes"]["degraded"]
    assert 0.5 < figures["accuracy"] <= 1
    assert {"short, easy", "short, hard"} & set(figures["by_shape"]), "the screen's stage is read"
    assert {"read", "tokenise", "screen", "encode"} <= set(result["idle"]["parts"]["all"]["server_ms"])
    assert result["plan"]["protocol"] == "grpc"


def test_a_service_behind_tls_and_a_key_is_driven(tmp_path: Path, texts_file: Path) -> None:
    made = certificate(tmp_path, "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.file, made.key)
    common = (*PATIENT, "--seconds", 1, "--warm-up", 0, "--texts", texts_file, "--out", tmp_path)
    key = ("--header", "Authorization: Bearer very-secret", "--header", "X-Tenant: a")
    with little_server(lambda _: ok(), context, {"Authorization": "Bearer very-secret", "X-Tenant": "a"}) as url:
        loadtest("run", url, *common, "--ca", made.file, *key, "--payloads", "--images", images(tmp_path))
        refused = loadtest("run", url, *common, "--ca", made.file, check=2).stderr
    assert refused == f"error: {url} must answer requests, got status 401; start the service, or name its address\n"
    result, page = read(tmp_path)
    assert result["figures"]["requests"] == result["figures"]["outcomes"]["ok"]
    assert result["plan"]["credentials"]["headers"] == ["Authorization", "X-Tenant"]
    assert all(row["answered"] for row in result["payloads"] if row["encoding"] in ("json", "raw"))
    assert "very-secret" not in (tmp_path / "run.json").read_text() + page


def images(folder: Path) -> Path:
    """A folder with one small image."""
    (folder / "images").mkdir()
    (folder / "images" / "1.png").write_bytes(digit(1))
    return folder / "images"


def test_the_time_limit_ends_a_run_and_what_was_measured_is_judged(tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("\n".join(str(n / 20) for n in (*range(21), 1_000_000)))
    arrivals = ("--arrivals", f"replay:{tmp_path / 'times.txt'}", "--seconds", 100_000, "--warm-up", 0)
    with little_server(lambda _: ok()) as url:
        said = loadtest("run", url, *PATIENT, *arrivals, "--limit", 250, "--out", tmp_path).stdout
    result, page = read(tmp_path)
    assert result["figures"]["requests"] == 21, "the last one was due after the limit"
    assert result["passed"]
    assert 0 < result["cut_to_s"] <= 250
    assert result["plan"]["limit_s"] == 250
    assert f"the time limit ended the measuring after {result['cut_to_s']:g} s" in said
    assert f"cut to {result['cut_to_s']} s by the time limit" in page


def test_a_recording_is_replayed_and_its_rates_are_of_its_own_time(server: Server, tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("\n".join(str(1000 + n / 20) for n in range(21)))
    options = (*PATIENT, "--seconds", 600, "--warm-up", 0, "--arrivals", f"replay:{tmp_path / 'times.txt'}")
    loadtest("run", server.url, *options, "--out", tmp_path)
    result, _ = read(tmp_path)
    assert result["figures"]["requests"] == 21
    assert result["figures"]["offered_per_s"] == 21
    assert result["plan"]["arrivals"] == "replay:times.txt"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--arrivals", "often"], "arrivals must be constant:RATE"),
        (["--arrivals", "poisson:0.0001"], "ask for more of them, or for longer"),
        (["--slo", "p98=5ms"], "like p99=50ms"),
        (["--texts", "none.csv"], "none.csv: must be a CSV or TSV file"),
        (["--images", "none.tar", "--image-share", "1"], "none.tar: must be a folder or a tar"),
        (["--image-share", "2"], "must be a share from 0 to 1, got 2"),
        (["--seconds", "soon"], "must be a number above 0, got soon"),
        (["--seconds", "inf"], "must be a number above 0, got inf"),
        (["--warm-up", "-1"], "must be a number of at least 0, got -1"),
        (["--limit", "0.000001"], "--limit: must leave time to get to know the service"),
        (["--limit", "60", "--warm-up", "61"], "--limit: must leave time to warm up, got 60 s"),
        (["--header", "secret"], "must be 'NAME: VALUE' on one line"),
        (["--ca", "none.pem"], "--ca, --cert: must go with an address of https"),
        (["--key", "none.pem"], "--key: must go with --cert"),
        (["--protocol", "grpc"], "--grpc: must name the server of --protocol grpc, got nothing"),
        (["--out", "/proc/none"], "--out /proc/none: must be a folder that can be written"),
    ],
)
def test_what_is_asked_wrongly_is_told_in_a_sentence(
    server: Server, tmp_path: Path, options: list[str], says: str
) -> None:
    done = loadtest("run", server.url, "--seconds", 1, "--warm-up", 0, "--out", tmp_path / "out", *options, check=2)
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert "got secret" not in done.stderr
    assert not (tmp_path / "out" / "run.json").exists()


def test_a_service_that_is_not_there_is_told_so(tmp_path: Path) -> None:
    done = loadtest("run", "http://127.0.0.1:1", "--out", tmp_path, check=2)
    assert done.stderr == "error: http://127.0.0.1:1 must answer requests, got no reply; start the service, or name " \
        "its address\n"  # fmt: skip


def test_an_interrupted_run_ends_with_130_and_writes_nothing(tmp_path: Path) -> None:
    seen, enough = [0], threading.Event()

    def reply(_: bytes) -> tuple[int, bytes] | None:
        seen[0] += 1
        if seen[0] > 40:
            enough.set()
        return ok()

    with little_server(reply) as url:
        line = [sys.executable, "-m", "loadtest", "run", url, "--seconds", "120", "--warm-up", "0", "--out", tmp_path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(line, env=environment, stderr=subprocess.PIPE, preexec_fn=interruptible, text=True)
        assert enough.wait(60)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted\n"
        process.stderr.close()
    assert not list(tmp_path.iterdir())
