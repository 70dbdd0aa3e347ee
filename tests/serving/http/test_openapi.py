"""The OpenAPI document agrees with what the API does."""

from __future__ import annotations

from typing import Any

from serving.http.api import METHODS
from serving.http.body import MAX_TEXTS
from serving.http.openapi import openapi
from serving.http.texts import TextPairs
from serving.load.admission import PRIORITIES
from serving.model.text import MAX_CHARACTERS

# Prometheus reads the one, and the other is the document itself.
UNDOCUMENTED = {"/metrics", "/docs.json"}


def found(document: Any, key: str) -> list[Any]:
    """The values of `key` anywhere in a JSON document."""
    if isinstance(document, dict):
        inner = [value for child in document.values() for value in found(child, key)]
        return inner + ([document[key]] if key in document else [])
    return [value for child in document for value in found(child, key)] if isinstance(document, list) else []


def test_every_address_is_there_with_its_method() -> None:
    paths = openapi()["paths"]
    assert {(path, *methods) for path, methods in paths.items()} == {
        (path, method.lower()) for path, method in METHODS.items() if path not in UNDOCUMENTED
    }


def test_every_reference_leads_to_a_schema() -> None:
    document = openapi()
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert set(found(document, "$ref")) <= schemas
    assert len(schemas) >= 5


def test_its_limits_are_the_ones_that_are_checked() -> None:
    schemas = openapi()["components"]["schemas"]
    assert schemas["ClassifyText"]["properties"]["text"]["maxLength"] == MAX_CHARACTERS
    assert schemas["ClassifyTexts"]["properties"]["texts"]["maxItems"] == MAX_TEXTS


def test_it_describes_pairs_where_the_cascade_takes_them() -> None:
    document = openapi(pairs=True)
    schemas = document["components"]["schemas"]
    assert {f"#/components/schemas/{name}" for name in schemas} >= set(found(document, "$ref"))
    assert set(schemas["ClassifyTextPair"]["required"]) == {"text", "text_pair"} == TextPairs.one_keys - {"budget_ms"}
    many = schemas["ClassifyTextPairs"]
    assert set(many["properties"]) == TextPairs.many_keys
    assert {many["properties"][name]["maxItems"] for name in ("texts", "text_pairs")} == {MAX_TEXTS}
    assert schemas["ClassifyTextPair"]["properties"]["text_pair"]["maxLength"] == MAX_CHARACTERS
    assert "ClassifyText" not in schemas


def test_every_post_takes_the_headers_of_the_guard() -> None:
    for path, methods in openapi()["paths"].items():
        if "post" in methods:
            headers = {p["name"]: p["schema"] for p in methods["post"]["parameters"] if p["in"] == "header"}
            assert set(headers) == {"X-Budget-Ms", "X-Priority", "X-Request-Id"}, path
            assert headers["X-Priority"]["enum"] == list(PRIORITIES)
            assert [p["name"] for p in methods["post"]["parameters"] if p["in"] == "query"] == ["budget_ms"]


def test_an_image_comes_in_four_ways() -> None:
    content = openapi()["paths"]["/classify_image"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream", "application/json"}


def test_an_answer_has_one_label_or_a_label_set() -> None:
    schemas = openapi()["components"]["schemas"]
    for name, field in (("ClassificationAnswer", "label"), ("LabelSetAnswer", "labels")):
        assert {"label", "labels"} & set(schemas[name]["required"]) == {field}
    for path in ("/classify_text", "/classify_image"):
        answer = openapi()["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        names = [found["$ref"].rpartition("/")[2] for found in answer["anyOf"]]
        assert names == ["ClassificationAnswer", "LabelSetAnswer"]
