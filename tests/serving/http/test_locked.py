"""What the document says of keys and rates, and that it says nothing of them where there are none."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.http.admin import admin_document
from serving.http.gate import OPEN, Gate
from serving.http.locked import SECURITY, locked
from serving.http.openapi import Json, openapi, together
from serving.load.rate import RateByAddress
from serving.oip.openapi import oip_document
from tests.serving.http.test_gate import Behind
from tests.serving.oip.models import model, models


@pytest.fixture
def document() -> Json:
    beside = together(oip_document(models(text=model())), admin_document(["a"]))
    return openapi(beside=beside)


def test_without_a_gate_it_is_as_it_was(document: Json) -> None:
    assert locked(document, OPEN) is document


def test_with_keys_every_address_but_those_of_health_names_them_and_their_refusals(
    document: Json, tmp_path: Path
) -> None:
    said = locked(document, Behind(tmp_path).gate)
    assert set(said["components"]["securitySchemes"]) == {"key", "bearer"}
    opened = set()
    for path, operations in said["paths"].items():
        for method, operation in operations.items():
            before = document["paths"][path][method]
            if operation["security"] == []:
                opened.add(path)
                assert operation["responses"] == before["responses"]
                continue
            assert operation["security"] == SECURITY
            more = {"401", "429"} | ({"403"} if method == "post" or path == "/metrics" else set())
            assert set(operation["responses"]) == set(before["responses"]) | more
            schema = "OipError" if path.startswith("/v2") else "Problem"
            for status in more:
                (content,) = operation["responses"][status]["content"].values()
                assert content["schema"]["$ref"] == f"#/components/schemas/{schema}"
                assert schema in said["components"]["schemas"]
            assert "Retry-After" in operation["responses"]["429"]["headers"]
    assert opened == {
        *("/livez", "/readyz", "/v2/health/live", "/v2/health/ready"),
        *("/v2/models/{name}/ready", "/v2/models/{name}/versions/{version}/ready"),
    }


def test_with_a_rate_of_addresses_alone_it_names_no_keys(document: Json) -> None:
    said = locked(document, Gate(addresses=RateByAddress(5)))
    assert said["components"]["securitySchemes"] == document["components"]["securitySchemes"]
    assert "429" in said["paths"]["/models"]["get"]["responses"]
    assert "401" not in said["paths"]["/models"]["get"]["responses"]
