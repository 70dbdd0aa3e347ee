from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from loadtest.traffic.process import free_port
from supply.audit import AuditError, complaints, found_in, read_exceptions
from tests.conftest import ROOT

ADVISORY = {
    "id": "GHSA-aaaa-bbbb-cccc",
    "aliases": ["CVE-2099-0001"],
    "summary": "a fault",
    "affected": [
        {
            "package": {"name": "idna", "ecosystem": "PyPI"},
            "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "99.0"}]}],
        }
    ],
}
EXCEPTION = """
[[exception]]
id = "{id}"
package = "{package}"
reason = "no input of ours reaches the fault"
decided = 2026-01-01
until = {until}
"""


@contextmanager
def database(faulty: str = "idna", status: int = 200) -> Iterator[str]:
    """The URL of a server that speaks OSV's protocol, and knows an advisory of one package."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = {"vulns": [ADVISORY]} if asked["package"]["name"] == faulty else {}
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/query"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def audit(folder: Path, url: str, *words: str, exceptions: str = "", pins: str = "idna==3.4\nsix==1.17.0\n") -> Any:
    """`python -m supply.audit`, with pip-audit itself."""
    (folder / "pins.txt").write_text(pins)
    (folder / "exceptions.toml").write_text(exceptions)
    line = [sys.executable, "-m", "supply.audit", "--requirements", str(folder / "pins.txt"), "--osv-url", url]
    line += ["--exceptions", str(folder / "exceptions.toml"), "--out", str(folder / "audit.json"), *words]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_an_advisory_without_an_exception_fails(tmp_path: Path) -> None:
    with database() as url:
        done = audit(tmp_path, url)
    assert done.returncode == 1
    assert "idna 3.4: CVE-2099-0001 (mended in 99.0): take a version without it, or write an exception" in done.stdout
    assert json.loads((tmp_path / "audit.json").read_text())["found"][0]["package"] == "idna"


@pytest.mark.parametrize("id", ["GHSA-aaaa-bbbb-cccc", "CVE-2099-0001"])
def test_one_with_an_exception_passes(tmp_path: Path, id: str) -> None:
    with database() as url:
        done = audit(tmp_path, url, exceptions=EXCEPTION.format(id=id, package="idna", until="9999-01-01"))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("exception", "says"),
    [
        ({"package": "idna", "until": "2026-02-01"}, "its exception has ended on 2026-02-01; decide anew"),
        ({"package": "six", "until": "9999-01-01"}, "six: no advisory needs the exception CVE-2099-0001; remove it"),
    ],
    ids=["ended", "unused"],
)
def test_an_exception_that_does_not_hold_fails(tmp_path: Path, exception: dict[str, str], says: str) -> None:
    with database() as url:
        done = audit(tmp_path, url, exceptions=EXCEPTION.format(id="CVE-2099-0001", **exception))
    assert done.returncode == 1
    assert says in done.stdout


def test_without_a_database_it_says_so_and_fails_only_where_it_is_required(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}/v1/query"
    for words, status in (((), 0), (("--required",), 1)):
        done = audit(tmp_path, nowhere, *words)
        assert done.returncode == status
        assert "NOT AUDITED" in done.stderr
    with database(status=503) as url:
        assert "NOT AUDITED" in audit(tmp_path, url).stderr
    assert not (tmp_path / "audit.json").exists()


def test_what_pip_audit_cannot_read_fails(tmp_path: Path) -> None:
    with database() as url:
        done = audit(tmp_path, url, pins="idna\n")
    assert done.returncode == 1
    assert "pip-audit failed: " in done.stderr


def test_a_package_that_was_left_out_fails() -> None:
    with pytest.raises(AuditError, match=r"left out odd \(not on PyPI\); pin each of them exactly"):
        found_in({"dependencies": [{"name": "odd", "skip_reason": "not on PyPI"}]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (EXCEPTION.format(id="aaaa", package="idna", until="9999-01-01"), "id: "),
        (EXCEPTION.format(id="CVE-1", package="IDNA", until="9999-01-01"), "package: "),
        (EXCEPTION.format(id="CVE-1", package="idna", until="true"), "until: "),
        (EXCEPTION.format(id="CVE-1", package="idna", until="9999-01-01").replace("reason", "why"), "reason: "),
        ("[exception", "must be TOML"),
        ("[other]", r"must hold \[\[exception\]\] alone, got other"),
    ],
)
def test_an_exception_that_breaks_a_rule_is_refused(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "exceptions.toml").write_text(text)
    with pytest.raises(AuditError, match=rf"exceptions.toml: {says}.*mend it"):
        read_exceptions(tmp_path / "exceptions.toml")


def test_the_exceptions_of_the_project_can_be_read() -> None:
    assert not [one for one in read_exceptions(ROOT / "supply" / "exceptions.toml") if one.until <= one.decided]
    assert complaints([], [], date(2026, 1, 1)) == []
