"""The OpenAPI document is complete."""

import re

import pytest

from popham.api.app import create_app
from popham.api.descriptions import FIELDS, SPECIAL
from popham.model.registry import ROUTES, Listener


@pytest.fixture(scope="module")
def document():
    return create_app(None).openapi()


def operations(document):
    return [
        (path, method, found) for path, all_ in document["paths"].items() for method, found in all_.items()
    ]


def test_f_t1_every_route_is_described_with_its_errors_and_who_may_use_it(document):
    expected = {
        (r.method.lower(), r.path): {str(kind) for kind in r.identities}
        for r in ROUTES
        if r.listener is Listener.PEOPLE and r.path not in {"/openapi.json", "/metrics"}
    }
    found = {}
    for path, method, operation in operations(document):
        assert operation["description"], path
        assert "application/problem+json" in operation["responses"]["default"]["content"]
        assert "422" not in operation["responses"]
        found[method, path] = set(operation["x-popham-identities"])
    assert found == expected


def test_every_answer_with_a_body_has_a_model(document):
    for path, method, operation in operations(document):
        for status, answer in operation["responses"].items():
            if status != "204":
                ((kind, content),) = answer["content"].items()
                assert "$ref" in content["schema"] or kind == "application/octet-stream", (path, method)


def test_every_field_and_parameter_has_a_meaning(document):
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, entry in schema.get("properties", {}).items()
        if not entry.get("description")
    ]
    silent += [
        p["name"]
        for _, _, op in operations(document)
        for p in op.get("parameters", ())
        if not p["description"]
    ]
    assert silent == []


def test_no_meaning_is_left_over(document):
    schemas = document["components"]["schemas"]
    fields = {f"{name}.{field}" for name, schema in schemas.items() for field in schema.get("properties", {})}
    assert set(SPECIAL) <= fields
    assert set(FIELDS) <= {field.partition(".")[2] for field in fields - set(SPECIAL)}


def test_every_reference_leads_somewhere(document):
    named = set(re.findall(r"#/components/schemas/(\w+)", str(document)))
    assert named <= set(document["components"]["schemas"])


def test_what_needs_a_token_says_so(document):
    for path, _, operation in operations(document):
        assert bool(operation.get("security")) == path.startswith("/api/")


async def test_the_document_is_for_readers(rig):
    assert (await rig.client("none").get("/openapi.json")).status_code == 401
    assert (await rig.client("viewer").get("/openapi.json")).json()["info"]["title"] == "Popham"
