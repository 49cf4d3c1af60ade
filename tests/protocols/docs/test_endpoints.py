"""/openapi.json, /docs.json and /docs: what they say of the routes is what the routes do."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Any

import httpx
import jsonschema
import pytest

from openllm.config.settings import Settings
from openllm.http.app import create_app
from openllm.http.routes import endpoint_of
from tests.protocols.conftest import echo_llm
from tests.serving import Running, serve

MESSAGES: Any = [{"role": "user", "content": "hi"}]
# What a body cannot do without, by the field that says it.
LEAST: dict[str, dict[str, Any]] = {
    "/v1/responses": {"input": "hi"},
    "/v1/responses/input_tokens": {"input": "hi"},
    "/v1/decisions": {
        "input": "hi",
        "questions": [{"type": "predicate", "instructions": "It is a greeting."}],
    },
    "/v1/detokenize": {"tokens": [1]},
    "/detokenize": {"tokens": [1]},
    "/v1/tokenize": {"text": "hi"},
    "/v2/embed": {"texts": ["hi"]},
    "/v1/embed": {"texts": ["hi"]},
    "/v1/embeddings": {"input": "hi"},
    "/api/embed": {"input": "hi"},
    "/api/show": {},
    "/v1/conversations": {},
    "/v1/metadata": {},
    "/v1/batches": {
        "input_file_id": "file-0",
        "endpoint": "/v1/embeddings",
        "completion_window": "24h",
    },
    "/v1/adapters": {"name": "a", "source": "b"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": MESSAGES},
}
OTHERS = (
    {"messages": MESSAGES},
    {"prompt": "hi"},
    {"inputs": "hi"},
    {"input": "hi"},
    {"query": "hi", "documents": ["hi"]},
    {"text_1": "hi", "text_2": "hi"},
    {"queries": "hi", "documents": "hi"},
    {"queries": "hi", "items": "hi"},
    {"data_1": "hi", "data_2": "hi"},
)


@pytest.fixture(scope="module")
def document(strict_client: httpx.Client) -> Any:
    answer = strict_client.get("/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def bodies(document: Any) -> dict[str, Any]:
    """The schemas of the bodies that the document has, by path."""
    return {
        path: methods["post"]["requestBody"]["content"]["application/json"]["schema"]
        for path, methods in document["paths"].items()
        if "requestBody" in methods.get("post", {})
    }


def unknown(client: httpx.Client, path: str, body: dict[str, Any]) -> set[str]:
    """The fields of `body` that the route says it does not know, one after the other."""
    found: set[str] = set()
    while True:
        left = {name: value for name, value in body.items() if name not in found}
        answer = client.post(path, json=left)
        assert answer.status_code < 500, answer.text
        said = re.search(r"Unknown field '([^']+)'", answer.text)
        if said is None:
            return found
        found.add(said[1])


def least(schema: Any, path: str) -> list[dict[str, Any]]:
    """The smallest bodies that the route at `path` reads to the end."""
    if path in LEAST:
        return [LEAST[path]]
    known, needed = set(schema.get("properties", ())), set(schema.get("required", ()))
    found = [body for body in OTHERS if needed <= set(body) <= known]
    assert found, f"say what {path} needs: {needed}"
    return found


def test_every_field_is_known_to_its_route_and_no_other_is(
    document: Any, strict_client: httpx.Client
) -> None:
    schemas = bodies(document)
    assert len(schemas) > 20
    for path, schema in schemas.items():
        jsonschema.Draft202012Validator.check_schema(schema)
        where = re.sub(r"{\w+}", "echo", path)
        others: list[set[str]] = []
        for body in least(schema, path):
            jsonschema.validate(body, schema)
            fields = {name: None for name in schema["properties"] if name not in body}
            others.append(unknown(strict_client, where, {**fields, **body}))
            if path not in ("/v1/adapters", "/v1/batches"):  # which need more than a body
                found = unknown(strict_client, where, {**body, "no_field": None})
                assert found == {"no_field"}, path
        if path != "/":  # where the fields that are not null say which of two bodies it is
            assert set.intersection(*others) == set(), path


def test_every_route_is_described(document: Any, echo_model: Any) -> None:
    app = create_app([echo_llm(echo_model)], Settings(strict_fields=True))
    wanted = {
        (re.sub(r":\w+}", "}", route.path), method.lower())
        for route in app.routes
        for method in (route.methods or set()) - {"HEAD"}
        if endpoint_of(route).described
    }
    described = {(path, method) for path, found in document["paths"].items() for method in found}
    assert described == wanted
    assert not any(path.startswith("/v1/audio") for path, _ in described)


def test_answers_and_errors_are_the_dialects(document: Any) -> None:
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert list(chat["responses"]["200"]["content"]) == ["application/json", "text/event-stream"]
    shapes = {
        path: document["paths"][path]["post"]["responses"][status]["content"]["application/json"]
        for path, status in (("/v2/chat", "400"), ("/generate", "422"), ("/v1/messages", "529"))
    }
    found = {path: list(shape["schema"]["properties"]) for path, shape in shapes.items()}
    assert found == {
        "/v2/chat": ["message"],
        "/generate": ["error", "error_type"],
        "/v1/messages": ["type", "error"],
    }
    assert "422" not in chat["responses"]
    path = document["paths"]["/v1/models/{model}"]["get"]
    assert path["parameters"][0] == {
        "name": "model",
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
    }


def test_the_page_has_no_script_and_its_style_is_allowed(strict_client: httpx.Client) -> None:
    answer = strict_client.get("/docs")
    assert answer.headers["content-type"].startswith("text/html")
    assert "/v1/chat/completions" in answer.text
    assert "messages[].role" in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    style = re.search(r"<style>(.*)</style>", answer.text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["content-security-policy"]
    assert f"'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


def test_docs_json_is_the_same(strict_client: httpx.Client, document: Any) -> None:
    assert strict_client.get("/docs.json").json() == document


@pytest.fixture(scope="module")
def locked(echo_model: Any) -> Any:
    settings = Settings(api_key="secret", protocols=("docs", "anthropic"))
    with serve(echo_llm(echo_model), settings=settings) as running:
        yield running


def test_a_key_is_needed_and_described(locked: Running) -> None:
    for path in ("/openapi.json", "/docs.json", "/docs"):
        assert httpx.get(locked.url + path).status_code == 401
    found = httpx.get(locked.url + "/docs", auth=("anybody", "secret"))
    assert found.status_code == 200
    headers = {"authorization": "Bearer secret"}
    document = httpx.get(locked.url + "/openapi.json", headers=headers).json()
    assert document["paths"]["/v1/messages"]["post"]["security"] == [
        {"x-api-key": []},
        {"bearer": []},
    ]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "x-api-key"}
    assert "security" not in document["paths"]["/livez"]["get"]
    assert "/v1/chat/completions" not in document["paths"]
