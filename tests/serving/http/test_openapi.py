"""The OpenAPI document agrees with what the API does."""

from __future__ import annotations

from typing import Any

from serving.cascade.served import Served
from serving.http.api import METHODS
from serving.http.body import MAX_TEXTS
from serving.http.images import MAX_IMAGES
from serving.http.openapi import openapi
from serving.http.texts import PAIRS, SINGLE
from serving.load.admission import PRIORITIES
from serving.load.budget import MAX_MS
from serving.model.image_header import MAX_BYTES, MAX_PIXELS
from serving.model.text import MAX_CHARACTERS
from tests.serving.http.test_api import modality

PROBES = {("/readyz", "get"), ("/livez", "get")}


def found(document: Any, key: str) -> list[Any]:
    """The values of `key` anywhere in a JSON document."""
    if isinstance(document, dict):
        inner = [value for child in document.values() for value in found(child, key)]
        return inner + ([document[key]] if key in document else [])
    return [value for child in document for value in found(child, key)] if isinstance(document, list) else []


def test_every_address_is_there_with_its_method() -> None:
    paths = openapi()["paths"]
    there = {(path, method.lower()) for path, method in METHODS.items()}
    assert {(path, *methods) for path, methods in paths.items()} == there | PROBES


def test_every_reference_leads_to_a_schema() -> None:
    document = openapi()
    schemas = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    references = {reference for reference in found(document, "$ref") if "/headers/" not in reference}
    assert references == schemas


def test_its_limits_are_the_ones_that_are_checked() -> None:
    schemas = openapi()["components"]["schemas"]
    text, texts = schemas["ClassifyText"]["properties"]["text"], schemas["ClassifyTexts"]["properties"]["texts"]
    assert (text["minLength"], text["maxLength"]) == (1, MAX_CHARACTERS)
    assert (texts["minItems"], texts["maxItems"]) == (1, MAX_TEXTS)
    assert schemas["ImageForm"]["properties"]["image"]["maxLength"] == MAX_BYTES
    for name in ("ImagesForm", "ClassifyImages"):
        images = schemas[name]["properties"]["images"]
        assert (images["minItems"], images["maxItems"]) == (1, MAX_IMAGES)
    budget = schemas["Budget"]
    assert (budget["exclusiveMinimum"], budget["maximum"]) == (0, MAX_MS)
    assert not found(openapi(), "default"), "clients would send them"


def test_every_budget_keeps_to_one_schema() -> None:
    document = openapi()
    paths = ("/classify_text", "/classify_texts", "/classify_image", "/classify_images")
    posts = [document["paths"][path]["post"] for path in paths]
    for post in posts:
        stated = [each["schema"] for each in post["parameters"] if each["name"] in ("budget_ms", "X-Budget-Ms")]
        assert stated == [{"$ref": "#/components/schemas/Budget"}] * 2
    for name, schema in document["components"]["schemas"].items():
        if "budget_ms" in schema.get("properties", {}):
            assert found(schema["properties"]["budget_ms"], "$ref") == ["#/components/schemas/Budget"], name
            assert schema["additionalProperties"] is False


def test_every_status_has_its_headers_and_every_operation_a_name() -> None:
    document = openapi()
    operations = [operation for each in document["paths"].values() for operation in each.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names)
    for operation in operations[:4]:
        for status, response in operation["responses"].items():
            assert {"X-Request-Id", "Server-Timing"} <= set(response["headers"])
            assert ("Retry-After" in response["headers"]) == (status == "503")
    headers = {reference.rpartition("/")[2] for reference in found(document, "$ref") if "/headers/" in reference}
    assert headers == set(document["components"]["headers"])


def test_it_says_what_no_schema_can_of_an_image() -> None:
    said = openapi()["paths"]["/classify_image"]["post"]["description"]
    assert "JPEG, PNG, WebP, GIF, BMP or TIFF" in said
    assert f"{MAX_PIXELS // 1_000_000} megapixels" in said


def test_it_describes_pairs_where_the_cascade_takes_them() -> None:
    document = openapi(Served([modality(pairs=True)]))
    schemas = document["components"]["schemas"]
    assert (
        set(schemas["ClassifyTextPair"]["required"]) == {"text", "text_pair"} == PAIRS.one_keys - {"budget_ms", "model"}
    )
    many = schemas["ClassifyTextPairs"]
    assert set(many["properties"]) == PAIRS.many_keys
    assert {many["properties"][name]["maxItems"] for name in ("texts", "text_pairs")} == {MAX_TEXTS}
    assert schemas["ClassifyTextPair"]["properties"]["text_pair"]["maxLength"] == MAX_CHARACTERS
    assert "ClassifyText" not in schemas


def test_every_post_takes_the_headers_of_the_guard() -> None:
    for path, methods in openapi()["paths"].items():
        if "post" in methods:
            headers = {p["name"]: p["schema"] for p in methods["post"]["parameters"] if p["in"] == "header"}
            asks = path != "/feedback"  # it asks no model, so it takes neither a model nor a budget
            assert set(headers) == {*(["X-Budget-Ms"] * asks), "X-Priority", "X-Request-Id", "traceparent"}, path
            assert headers["X-Priority"]["enum"] == list(PRIORITIES)
            query = [p["name"] for p in methods["post"]["parameters"] if p["in"] == "query"]
            assert query == ["model", "budget_ms"] * asks


def test_an_image_comes_in_four_ways() -> None:
    content = openapi()["paths"]["/classify_image"]["post"]["requestBody"]["content"]
    assert set(content) == {"multipart/form-data", "image/*", "application/octet-stream", "application/json"}
    several = openapi()["paths"]["/classify_images"]["post"]["requestBody"]["content"]
    assert set(several) == {"multipart/form-data", "application/json"}


def test_an_answer_has_one_label_or_a_label_set() -> None:
    schemas = openapi()["components"]["schemas"]
    for name, field in (("ClassificationAnswer", "label"), ("LabelSetAnswer", "labels")):
        assert {"label", "labels"} & set(schemas[name]["required"]) == {field}
    for path in ("/classify_text", "/classify_image"):
        answer = openapi()["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
        names = [found["$ref"].rpartition("/")[2] for found in answer["anyOf"]]
        assert names == ["ClassificationAnswer", "LabelSetAnswer"]


def test_it_names_the_cascades_and_describes_every_form_of_text_that_one_of_them_takes() -> None:
    both = Served([modality(name="a"), modality(name="b", pairs=True), modality("image", name="c")])
    document = openapi(both)
    schemas = document["components"]["schemas"]
    assert (schemas["TextCascade"]["enum"], schemas["ImageCascade"]["enum"]) == (["a", "b"], ["c"])
    body = document["paths"]["/classify_text"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert [each["$ref"].rpartition("/")[2] for each in body["anyOf"]] == ["ClassifyText", "ClassifyTextPair"]
    assert set(schemas["ClassifyText"]["properties"]) == SINGLE.one_keys
    for path, of in (
        ("/classify_texts", "TextCascade"),
        ("/classify_image", "ImageCascade"),
        ("/classify_images", "ImageCascade"),
    ):
        (model,) = [each for each in document["paths"][path]["post"]["parameters"] if each["name"] == "model"]
        assert (model["in"], model["schema"]) == ("query", {"$ref": f"#/components/schemas/{of}"})
    assert "enum" not in openapi()["components"]["schemas"]["TextCascade"], "nothing would be valid"
