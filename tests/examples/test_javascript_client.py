"""examples/javascript-client: its command lines answer, and a bad text is explained. Needs Node 18 or later."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.examples.following import EXAMPLES, LOCAL, lines
from tests.server import Server
from tests.service.test_api import digit

FOLDER = EXAMPLES / "javascript-client"


def node(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("node")
    if program is None:
        pytest.skip("no node, which runs the JavaScript client")
    return subprocess.run([program, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)


def test_its_commands_answer(server: Server, tmp_path: Path) -> None:
    (tmp_path / "digits-0.png").write_bytes(digit(0))
    texts, image = lines("javascript-client", "node client.mjs")
    for line in (texts, [*image[:-1], str(tmp_path / "digits-0.png")]):
        url, *inputs = line
        assert url == LOCAL
        done = node("client.mjs", server.url, *inputs)
        assert done.returncode == 0, done.stderr
        assert [row.rpartition(": ")[2] for row in done.stdout.splitlines()] == inputs


def test_what_is_wrong_with_a_text_is_said(server: Server) -> None:
    done = node("client.mjs", server.url, " ")
    assert done.returncode == 1
    assert done.stderr.startswith("error: text: must not be empty")
    script = f"""
        import {{ Sieve }} from "./client.mjs";
        const [good, bad] = await new Sieve("{server.url}").texts(["where is my refund", " "]);
        console.log(good.label in good.scores, bad.error.message);
    """
    done = node("--input-type=module", "--eval", script)
    assert done.stdout.startswith("true texts[1]: must not be empty"), done.stderr


def test_a_refusal_is_retried_when_the_service_says() -> None:
    script = """
        import { createServer } from "node:http";
        import { Sieve } from "./client.mjs";
        let requests = 0;
        const server = createServer((request, response) => {
          requests += 1;
          response.writeHead(requests === 1 ? 503 : 200, { "Retry-After": "0" });
          response.end(JSON.stringify({ label: "a" }));
        });
        server.listen(0, "127.0.0.1", async () => {
          const answer = await new Sieve(`http://127.0.0.1:${server.address().port}`).text("hello");
          console.log(requests, answer.label);
          server.close();
          server.closeAllConnections();
        });
    """
    done = node("--input-type=module", "--eval", script)
    assert done.stdout == "2 a\n", done.stderr
