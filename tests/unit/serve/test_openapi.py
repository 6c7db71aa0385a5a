"""The OpenAPI document is valid 3.1 and says what the routes do."""

from __future__ import annotations

import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from anya_actors.domain.hsm.scopes import SCOPES

OPEN = {"/healthz", "/readyz", "/.well-known/jwks.json", "/oauth/token", "/oauth/revoke", "/oauth/introspect"}


@pytest.fixture
async def document(platform: Any) -> dict[str, Any]:
    answer: dict[str, Any] = (await platform.client().get("/openapi.json")).json()
    return answer


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, method, op) for path, ops in document["paths"].items() for method, op in ops.items()]


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_but_the_open_ones_names_its_scope(document: dict[str, Any]) -> None:
    for path, _, operation in operations(document):
        if path in OPEN:
            assert "security" not in operation
        else:
            (scope,) = operation["security"][0]["bearer"]
            assert scope in SCOPES


def test_every_scope_is_documented_and_used(document: dict[str, Any]) -> None:
    used = {op["security"][0]["bearer"][0] for _, _, op in operations(document) if "security" in op}
    assert used == set(SCOPES)
    for scope in SCOPES:
        assert f"`{scope}`" in document["components"]["securitySchemes"]["bearer"]["bearerFormat"]


def test_every_route_that_changes_something_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        names = [parameter["name"] for parameter in operation.get("parameters", ())]
        assert ("Idempotency-Key" in names) is (method in ("post", "delete") and path not in OPEN)


def test_every_route_answers_errors_with_problems(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        content = operation["responses"]["default"]["content"]
        assert list(content) == ["application/problem+json"]


def test_the_close_codes_of_the_event_channel_are_documented(document: dict[str, Any]) -> None:
    for code in ("1001", "1003", "1013", "4401", "4408"):
        assert f"- {code} " in document["info"]["description"]


def test_views_are_described_without_the_stores_tag(document: dict[str, Any]) -> None:
    assert "type" not in document["components"]["schemas"]["WalletView"]["properties"]
    assert document["components"]["schemas"]["TipView"]["required"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = str(document)
    for name in {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]


async def test_the_page_that_shows_it_needs_no_other_host(platform: Any) -> None:
    client = platform.client()
    page = await client.get("/docs")
    assert "//" not in page.text
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) == 4
    for address in set(loaded) - {"data:,"}:
        assert (await client.get(f"/{address}")).status_code == 200, address
    assert (await client.get("/docs/start.js")).text.count("openapi.json") == 1
    assert "SwaggerUIBundle" in (await client.get("/docs/swagger-ui-bundle.js")).text


async def test_a_browser_may_ask_no_other_host_for_the_page(platform: Any) -> None:
    policy = (await platform.client().get("/docs")).headers["content-security-policy"]
    sources = {word for rule in policy.split("; ") for word in rule.split()[1:]}
    assert sources == {"'none'", "'self'", "'unsafe-inline'", "data:"}
    assert "script-src 'self';" in policy
