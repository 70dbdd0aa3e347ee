"""What the OpenAPI document says of keys and rates, where the API has them."""

from __future__ import annotations

from typing import Any

from serving.http.gate import Gate, is_open, right_for
from serving.http.nowhere import has_sentences
from serving.http.openapi import Json

SCHEMES: Json = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "bearer": {"type": "http", "scheme": "bearer", "description": "the same key"},
}
SECURITY: list[Json] = [{name: []} for name in SCHEMES]
RETRY_AFTER: Json = {"description": "seconds", "schema": {"type": "integer", "minimum": 1}}


def locked(document: Json, gate: Gate) -> Json:
    """The document of an API behind `gate`."""
    if not gate.stands:
        return document
    paths = {
        path: {method: _behind(path, method, operation, gate) for method, operation in operations.items()}
        for path, operations in document["paths"].items()
    }
    components = dict(document["components"])
    if gate.keys is not None:
        components["securitySchemes"] = SCHEMES
    return {**document, "paths": paths, "components": components}


def _behind(path: str, method: str, operation: Json, gate: Gate) -> Json:
    if is_open(path):
        return {**operation, "security": []}
    often = _response(path, "The key or the address has sent too many requests; Retry-After says when to come back")
    responses = {"429": {**often, "headers": {"Retry-After": RETRY_AFTER}}}
    if gate.keys is None:
        return {**operation, "responses": {**operation["responses"], **responses}}
    responses["401"] = _response(path, "The key is missing, or not known")
    right = right_for(method.upper(), path)
    if right is not None:
        more = ", or high-priority" if right == "classify" else ""
        responses["403"] = _response(path, f"The key lacks the right {right}{more}")
    return {**operation, "security": SECURITY, "responses": {**operation["responses"], **responses}}


def _response(path: str, said: str) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{'OipError' if has_sentences(path) else 'Problem'}"}
    return {"description": said, "content": {"application/json": {"schema": schema}}}
