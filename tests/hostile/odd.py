"""Strategies that make odd requests: HTTP with edits, headers, JSON of odd shapes, damaged images, tensors."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from tests.serving.model.test_image_header import FILES

MESSAGE = json.dumps({"text": "where is my refund"}).encode()
FORM = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n--x--\r\n' % FILES[3]
TENSOR = json.dumps(
    {"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["where is my refund"]}]}
).encode()


def _post(path: bytes, body: bytes, *headers: bytes) -> bytes:
    lines = [b"POST %b HTTP/1.1" % path, b"Host: x", b"Connection: close", *headers]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body])


REQUESTS = [
    _post(b"/classify_text", MESSAGE),
    _post(
        b"/classify_text?budget_ms=50", MESSAGE, b"X-Priority: high", b"X-Request-Id: a", b"Origin: http://a.example"
    ),
    _post(b"/classify_text", MESSAGE, b"Expect: 100-continue"),
    _post(b"/classify_text", MESSAGE, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c"),
    _post(b"/classify_image", FILES[0], b"Content-Type: image/jpeg"),
    _post(b"/classify_image", FORM, b"Content-Type: multipart/form-data; boundary=x"),
    _post(b"/v2/models/text/infer", TENSOR),
    _post(b"/admin/models/tiny-text", b"{}", b"Authorization: Bearer x"),
    b"GET /models?a=b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"GET /page/../service.py HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    b"OPTIONS /classify_text HTTP/1.1\r\nHost: x\r\nOrigin: http://a.example\r\n"
    b"Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n",
    b"POST /classify_text HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"%x\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(MESSAGE), MESSAGE),
]
TOKENS = [
    *(b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b",", b";", b"\x7f", b"\xff", b"%00", b"%ff", b"%2e%2e/", b"//"),
    *(
        b"0",
        b"9",
        b"-1",
        b"18446744073709551616",
        b"\xc2\xb2",
        b"HTTP/1.0",
        b"HTTP/2.0",
        b"CONNECT",
        b"PUT",
        b"chunked",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length : 5\r\n", b"Transfer-Encoding: chunked\r\n", b" folded\r\n"),
    *(b"Host: [\r\n", b"Expect: 100-continue\r\n", b"Upgrade: websocket\r\n", b"Content-Encoding: gzip\r\n"),
]


@st.composite
def edited(draw: st.DrawFn, whole: st.SearchStrategy[bytes], most: int = 4) -> bytes:
    """Bytes, a few of them replaced, left out, or with others between."""
    data = bytearray(draw(whole))
    for _ in range(draw(st.integers(0, most))):
        begin = draw(st.integers(0, len(data)))
        count = draw(st.sampled_from((0, 0, 1, 2, 7, 40)))
        data[begin : begin + count] = draw(st.sampled_from(TOKENS) | st.binary(max_size=4))
    return bytes(data)


http = edited(st.sampled_from(REQUESTS) | st.tuples(*[st.sampled_from(REQUESTS)] * 2).map(b"".join))

NAMES = [
    *("X-Budget-Ms", "X-Priority", "X-Request-Id", "traceparent", "tracestate", "Content-Type", "Content-Encoding"),
    *(
        "Origin",
        "Accept",
        "Accept-Encoding",
        "Authorization",
        "Cookie",
        "Range",
        "If-Match",
        "If-None-Match",
        "Forwarded",
    ),
    *(
        "X-Forwarded-For",
        "Inference-Header-Content-Length",
        "Payload-Container",
        "Buffer-Lengths",
        "X-HTTP-Method-Override",
    ),
]
# What a header may hold: all but line ends and other control characters.
values = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=60) | (
    st.sampled_from(
        [
            "nan",
            "inf",
            "-0",
            "1e400",
            "1_0",
            "0x1",
            "9" * 400,
            "high",
            "00-" + "1" * 32 + "-" + "1" * 16 + "-01",
            "*",
            "multipart/form-data",
            "multipart/form-data; boundary=",
            "multipart/form-data; charset=undefined; boundary=x",
            "application/json; charset=utf-7",
            "image/png",
            "text/plain",
            "identity",
            "gzip, br",
            "bytes=0-1",
        ]
    )
)
headers = st.dictionaries(
    st.sampled_from(NAMES) | st.text("abcXYZ-_09!~", min_size=1, max_size=12), values.map(str.strip), max_size=6
)

numbers = st.integers() | st.floats() | st.sampled_from([1e308, -0.0, 10**30, 2**63, 2**64, 0.1, 50, 1000, 1001, True])
texts = st.text(max_size=20) | st.sampled_from(
    [
        "where is my refund",
        " ",
        "\x00",
        "\u202eabc \u0634\u0643\u0631",
        "e" + "\u0301" * 300,
        "\ufeffa",
        "x" * 20001,
        "🏳️\u200d🌈" * 50,
        "[CLS] [SEP] [MASK]",
        "http://127.0.0.1:1/",
        "file:///etc/passwd",
        "\r\n\r\n",
    ]
)
scalars = st.none() | st.booleans() | numbers | texts
shapes = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
KEYS = [
    "text",
    "texts",
    "text_pair",
    "text_pairs",
    "image",
    "images",
    "budget_ms",
    "model",
    "inputs",
    "outputs",
    "parameters",
    "id",
]
TENSOR_KEYS = ["name", "shape", "datatype", "data", "parameters"]
tensors = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["text", "image"]) | shapes,
        "shape": st.lists(st.sampled_from([1, 2, 0, -1, 64, 65, 2**40]) | scalars, max_size=3) | shapes,
        "datatype": st.just("BYTES") | scalars,
        "data": st.lists(texts | st.lists(texts, max_size=2) | scalars, max_size=3) | shapes,
        "parameters": shapes,
    },
)
objects = st.one_of(
    shapes,
    st.dictionaries(st.sampled_from(KEYS), shapes, max_size=4),
    st.fixed_dictionaries({"text": texts}, optional={"budget_ms": numbers | shapes, "model": shapes}),
    st.fixed_dictionaries({"texts": st.lists(texts | scalars, max_size=5)}, optional={"budget_ms": numbers}),
    st.fixed_dictionaries({"images": st.lists(texts | scalars, max_size=5)}, optional={"budget_ms": numbers}),
    st.fixed_dictionaries(
        {"inputs": st.lists(tensors, max_size=2) | shapes}, optional={"parameters": shapes, "id": texts}
    ),
)
JSON_TOKENS = [
    *(
        b'{"text":',
        b'"text": "b",',
        b"NaN",
        b"-Infinity",
        b"1e999",
        b'"\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\\u0000"',
        b"\\",
    ),
    *(b"[" * 2_000, b'{"a":' * 2_000, b"\xff", b"\xef\xbb\xbf", b"\0", b",", b"]", b"}", b'"', b"//", b"'", b"0" * 400),
]


@st.composite
def json_bodies(draw: st.DrawFn) -> bytes:
    """JSON of odd shapes, and what is nearly JSON."""
    data = bytearray(json.dumps(draw(objects), ensure_ascii=draw(st.booleans())).encode(errors="surrogatepass"))
    for _ in range(draw(st.sampled_from((0, 0, 0, 1, 2)))):
        begin = draw(st.integers(0, len(data)))
        data[begin : begin + draw(st.sampled_from((0, 1, 5)))] = draw(st.sampled_from(JSON_TOKENS))
    return bytes(data)


images = edited(st.sampled_from(FILES), 6)


@st.composite
def binary_tensors(draw: st.DrawFn) -> tuple[bytes, str]:
    """A request with tensors behind its JSON, and the header with the length of the JSON."""
    elements = draw(st.lists(texts.map(str.encode) | st.binary(max_size=12) | images, max_size=3))
    tail = b"".join(len(each).to_bytes(4, "little") + each for each in elements)
    size = draw(st.just(len(tail)) | st.integers(-1, 300))
    asked: dict[str, Any] = {
        "inputs": [
            {
                "name": draw(st.sampled_from(["text", "image"])),
                "shape": [draw(st.just(len(elements)) | st.integers(-1, 70))],
                "datatype": "BYTES",
                "parameters": {"binary_data_size": size},
            }
        ]
    }
    head = json.dumps(asked).encode()
    stated = draw(st.just(str(len(head))) | st.integers(-1, 400).map(str) | st.sampled_from(["", "a", "²"]))
    return head + draw(edited(st.just(tail), 2)), stated
