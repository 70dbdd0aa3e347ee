"""HTTP clients of other languages get answers; several offer HTTP/2 in each request, which is ignored."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import pytest

from serving.expert.wire import pack, unpack
from tests.commands import needs_curl
from tests.server import Server
from tests.service.test_api import digit
from tests.serving.http.test_http_one import JAVA

TEXT = b'{"text": "where is my refund", "budget_ms": 1000}'
TEXTS = b'{"texts": ["where is my refund", " "], "budget_ms": 1000}'
ADDRESSES = {"/classify_text": TEXT, "/classify_texts": TEXTS, "/models": b"", "/docs.json": b"", "/readyz": b""}

# By default the client offers `Upgrade: h2c` to http:// addresses. Two requests over one connection, and a chunked one.
JAVA_CLIENT = """
import java.io.ByteArrayInputStream;
import java.net.URI;
import java.net.http.*;
import java.nio.charset.StandardCharsets;

public class Client {
  public static void main(String[] given) throws Exception {
    HttpClient client = HttpClient.newHttpClient();
    byte[] body = given[1].getBytes(StandardCharsets.UTF_8);
    var whole = HttpRequest.BodyPublishers.ofByteArray(body);
    var chunked = HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(body));
    for (var publisher : new HttpRequest.BodyPublisher[] {whole, whole, chunked}) {
      for (boolean waits : new boolean[] {false, true}) {
        var request = HttpRequest.newBuilder(URI.create(given[0])).expectContinue(waits).POST(publisher).build();
        var reply = client.send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(reply.statusCode() + " " + reply.body());
      }
    }
  }
}
"""
NODE_CLIENT = """
import { request } from "node:http";
const [url, body] = process.argv.slice(-2);
for (let time = 0; time < 2; time++) {
  const reply = await fetch(url, { method: "POST", body });
  console.log(reply.status, await reply.text());
}
const sent = request(url, { method: "POST" }, async (reply) => {
  let text = "";
  for await (const piece of reply) text += piece;
  console.log(reply.statusCode, text);
});
sent.write(body.slice(0, 9));
sent.end(body.slice(9));
"""
GO_CLIENT = """
package main

import ("fmt"; "io"; "net/http"; "os"; "strings")

func main() {
  for _, body := range []io.Reader{strings.NewReader(os.Args[2]), io.MultiReader(strings.NewReader(os.Args[2]))} {
    reply, problem := http.Post(os.Args[1], "application/json", body)
    if problem != nil { panic(problem) }
    text, _ := io.ReadAll(reply.Body)
    fmt.Println(reply.StatusCode, string(text))
  }
}
"""


def labels(*command: str) -> list[str]:
    """The labels that a client printed, each after the status 200."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = [line.partition(" ") for line in done.stdout.splitlines()]
    assert {status for status, _, _ in lines} == {"200"}, done.stdout
    return [json.loads(body)["label"] for _, _, body in lines]


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on this machine")
    return found


def test_java(server: Server, tmp_path: Path) -> None:
    java = program("java")
    file = tmp_path / "Client.java"
    file.write_text(JAVA_CLIENT)
    assert len(labels(java, str(file), f"{server.url}/classify_text", TEXT.decode())) == 6


def test_node(server: Server) -> None:
    node = program("node")
    found = labels(node, "--input-type=module", "--eval", NODE_CLIENT, f"{server.url}/classify_text", TEXT.decode())
    assert len(found) == 3


def test_go(server: Server, tmp_path: Path) -> None:
    go = program("go")
    file = tmp_path / "client.go"
    file.write_text(GO_CLIENT)
    assert len(labels(go, "run", str(file), f"{server.url}/classify_text", TEXT.decode())) == 2


@needs_curl
@pytest.mark.parametrize("more", [(), ("-H", "Expect: 100-continue"), ("-H", "Transfer-Encoding: chunked")], ids=str)
@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_curl(server: Server, version: str, more: tuple[str, ...]) -> None:
    if version == "--http1.0" and more:
        pytest.skip("HTTP/1.0 has neither")
    line = ("curl", "-sS", version, *more, "-w", "\n", "-d", TEXT.decode(), *[f"{server.url}/classify_text"] * 2)
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert len([json.loads(body)["label"] for body in done.stdout.splitlines()]) == 2, done.stderr


def raw(connection: socket.socket, sent: bytes) -> tuple[int, bytes]:
    """The status and the body of the answer to bytes that are sent over a connection."""
    connection.sendall(sent)
    with connection.makefile("rb") as reader:
        status = int(reader.readline().split()[1])
        headers = dict(line.lower().rstrip().split(b": ", 1) for line in iter(reader.readline, b"\r\n"))
        return status, reader.read(int(headers[b"content-length"]))


def offering(path: str, body: bytes, *more: bytes) -> bytes:
    method = b"POST" if body else b"GET"
    head = [method + b" " + path.encode() + b" HTTP/1.1", b"Host: x", JAVA, *more, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(head) + b"\r\n\r\n" + body


@pytest.mark.parametrize("path", ADDRESSES)
def test_the_offer_of_java_is_ignored_at_every_address(server: Server, path: str) -> None:
    place = urlparse(server.url)
    with socket.create_connection((place.hostname, place.port), 30) as connection:
        for _ in range(2):
            assert raw(connection, offering(path, ADDRESSES[path]))[0] == 200
        image = offering("/classify_image?budget_ms=1000", digit(1), b"Content-Type: image/png")
        assert raw(connection, image)[0] == 200


def test_the_expert_ignores_it_too(server: Server) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(30)
        connection.connect(server.expert_socket("text"))
        for _ in range(2):
            status, body = raw(connection, offering("/infer", pack([np.array([2, 5, 3])])))
            assert status == 200
            assert unpack(body)[0].shape[0] == 1
