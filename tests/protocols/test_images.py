"""Images in the requests of all protocols: looked at by models that see, counted as prompt tokens,
and refused by the client's own name of the field where they cannot be.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.llm.llm import LLM
from tests import seeing
from tests.serving import Running, serve, write_echo_model

KIND = "qwen2_vl"
TOKENS = {(40, 56): 2, (84, 84): 9}  # of an image of that size
PIXELS = 100_000


def base64_of(file: bytes) -> str:
    return base64.b64encode(file).decode()


def uri(file: bytes, media: str = "image/png") -> str:
    return f"data:{media};base64,{base64_of(file)}"


SMALL, LARGE = seeing.picture(1), seeing.picture(2, (84, 84))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("images")
    settings = Settings(max_images=3, max_image_pixels=PIXELS, max_image_bytes=200_000)
    paths = (
        seeing.write_seeing(KIND, folder / "sees", weights=False),
        write_echo_model(folder / "reads"),
    )
    llms = [
        LLM.from_spec(LLMSpec(model_id=path.name, backend="echo"), path, settings=settings)
        for path in paths
    ]
    with serve(*llms, settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Running) -> Iterator[httpx.Client]:
    with server.client() as found:
        yield found


def chat(content: Any, model: str = "sees") -> dict[str, Any]:
    return {"model": model, "max_tokens": 3, "messages": [{"role": "user", "content": content}]}


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, "detail": "low"}}


TEXT = {"type": "text", "text": "what is it"}


def prompt_tokens(client: httpx.Client, *images: bytes) -> int:
    content = [*(part(uri(image)) for image in images), TEXT]
    answer = client.post("/v1/chat/completions", json=chat(content))
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    return int(usage["prompt_tokens"])


def test_tokens_of_images_are_prompt_tokens(client: httpx.Client) -> None:
    without, marks = prompt_tokens(client), 2  # around each image
    assert prompt_tokens(client, SMALL) == without + marks + TOKENS[40, 56]
    both = prompt_tokens(client, SMALL, LARGE)
    assert both == without + 2 * marks + TOKENS[40, 56] + TOKENS[84, 84]


def test_every_protocol_has_the_same_image(client: httpx.Client) -> None:
    expected = prompt_tokens(client, SMALL)
    data, url = base64_of(SMALL), uri(SMALL)
    words = "what is it"
    block = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    messages = {"model": "sees", "messages": [{"role": "user", "content": [block, TEXT]}]}
    found = client.post("/v1/messages", json={**messages, "max_tokens": 3})
    assert found.json()["usage"]["input_tokens"] == expected, found.text
    counted = client.post("/v1/messages/count_tokens", json=messages)
    assert counted.json() == {"input_tokens": expected}
    asked = {"role": "user", "content": words, "images": [data]}
    found = client.post("/api/chat", json={"model": "sees", "messages": [asked], "stream": False})
    assert found.json()["prompt_eval_count"] == expected, found.text
    asked = {"model": "sees", "prompt": words, "images": [url], "stream": False}
    found = client.post("/api/generate", json=asked)
    assert found.json()["prompt_eval_count"] == expected, found.text
    content = [part(url), TEXT]
    asked = {"model": "sees", "messages": [{"role": "user", "content": content}], "max_tokens": 3}
    found = client.post("/v2/chat", json=asked)
    assert found.json()["usage"]["tokens"]["input_tokens"] == expected, found.text


@pytest.mark.parametrize(("model", "sees"), [("sees", True), ("reads", False)])
def test_every_list_of_models_says_who_looks_at_images(
    client: httpx.Client, model: str, sees: bool
) -> None:
    listed = client.get(f"/v1/models/{model}").json()["architecture"]
    inputs = ["text", "image"] if sees else ["text"]
    assert listed["input_modalities"] == inputs
    assert listed["output_modalities"] == ["text"]
    assert listed["modality"] == ("text+image->text" if sees else "text->text")
    metadata = client.get("/v1/metadata").json()
    [told] = [each for each in metadata["models"] if each["model_id"] == model]
    assert told["input_modalities"] == inputs
    assert (metadata["limits"]["max_images"], metadata["limits"]["max_image_pixels"]) == (3, PIXELS)
    shown = client.post("/api/show", json={"model": model}).json()
    assert ("vision" in shown["capabilities"]) == sees
    theirs = client.get(f"/v1/models/{model}", headers={"anthropic-version": "2023-06-01"}).json()
    assert theirs["capabilities"]["image_input"] == {"supported": sees}
    cohere = {"user-agent": "cohere/5.20.0"}
    assert (
        "vision" in client.get(f"/v1/models/{model}", headers=cohere).json()["features"]
    ) == sees


def test_a_response_keeps_its_images(client: httpx.Client) -> None:
    expected = prompt_tokens(client, SMALL)
    content = [
        {"type": "input_image", "image_url": uri(SMALL), "detail": "auto"},
        {"type": "input_text", "text": "what is it"},
    ]
    asked = {"model": "sees", "max_output_tokens": 3}
    first = client.post("/v1/responses", json={**asked, "input": [chat(content)["messages"][0]]})
    assert first.json()["usage"]["input_tokens"] == expected, first.text
    items = client.get(f"/v1/responses/{first.json()['id']}/input_items").json()["data"]
    assert items[0]["content"][0]["image_url"] == uri(SMALL)
    more = {**asked, "input": "and now?", "previous_response_id": first.json()["id"]}
    second = client.post("/v1/responses", json=more)
    assert second.json()["usage"]["input_tokens"] > expected, second.text


def test_a_tool_may_return_an_image(client: httpx.Client) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png"}}
    image["source"]["data"] = base64_of(SMALL)  # type: ignore[index]
    result = {"type": "tool_result", "tool_use_id": "t1", "content": [image]}
    call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
    turns = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    found = client.post("/v1/messages", json={"model": "sees", "max_tokens": 3, "messages": turns})
    assert found.status_code == 200, found.text


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (
            "/v1/chat/completions",
            chat([TEXT, part(uri(SMALL))], "reads"),
            "messages[0].content[1].image_url.url",
        ),
        (
            "/v1/responses",
            {
                "model": "reads",
                "input": [
                    {
                        "role": "user",
                        "content": [{"type": "input_image", "image_url": uri(SMALL)}],
                    }
                ],
            },
            "input[0].content[0].image_url",
        ),
    ],
)
def test_a_model_of_texts_names_the_field(
    client: httpx.Client, path: str, body: dict[str, Any], param: str
) -> None:
    answer = client.post(path, json=body)
    error = answer.json()["error"]
    assert (answer.status_code, error["param"]) == (400, param)
    assert "cannot look at images" in error["message"]


@pytest.mark.parametrize(
    ("path", "message", "says"),
    [
        (
            "/v1/messages",
            {
                "content": [
                    {
                        "type": "image",
                        "source": {
                            "type": "base64",
                            "media_type": "image/png",
                            "data": base64_of(SMALL),
                        },
                    }
                ]
            },
            "messages[0].content[0].source.data",
        ),
        ("/api/chat", {"content": "", "images": [base64_of(SMALL)]}, "messages[0].images[0]"),
    ],
)
def test_other_dialects_name_it_in_the_message(
    client: httpx.Client, path: str, message: dict[str, Any], says: str
) -> None:
    body = {"model": "reads", "max_tokens": 3, "messages": [{"role": "user", **message}]}
    if path == "/api/chat":
        del body["max_tokens"]
    answer = client.post(path, json=body)
    assert answer.status_code == 400
    assert f"{says}: the model reads cannot look at images" in answer.text


def bomb(width: int, height: int) -> bytes:
    """The head of a PNG that would be so large, and hardly anything behind it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def in_format(name: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (20, 20)).save(out, name)
    return out.getvalue()


AT = "messages[0].content[0].image_url.url"


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("data:image/png;base64,!!!!", f"{AT}: is not base64"),
        ("data:image/png;base64,", f"{AT}: is no image"),
        ("hello", f"{AT}: must be a data: URI"),
        ("file:///etc/passwd", f"{AT}: must be a data: URI"),
        ("http://127.0.0.1/x.png", f"{AT}: images are not fetched"),
        ("HTTPS://example.com/x.png", f"{AT}: images are not fetched"),
        (uri(b"<svg/>", "image/svg+xml"), f"{AT}: is no image of a format that is taken"),
        (uri(in_format("BMP")), f"{AT}: is no image of a format that is taken"),
        (uri(in_format("TIFF")), f"{AT}: is no image of a format that is taken"),
        (uri(SMALL[:-200]), f"{AT}: is broken"),
        (uri(bomb(400, 400)), f"{AT}: has 400 x 400 pixels; at most {PIXELS}"),
        (uri(bomb(60_000, 60_000)), "pixels; at most"),
        (uri(bomb(20, 20)), f"{AT}: is broken"),
        (uri(bomb(0, 20)), "image"),
        (uri(b"\0" * 200_001), f"{AT}: has 200001 bytes; at most 200000 are allowed"),
    ],
)
def test_what_cannot_be_looked_at_is_a_400(client: httpx.Client, url: str, says: str) -> None:
    answer = client.post("/v1/chat/completions", json=chat([part(url), TEXT]))
    assert answer.status_code == 400, answer.text
    assert says in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF"])
def test_formats_that_are_taken(client: httpx.Client, name: str) -> None:
    content = [part(uri(in_format(name), "application/octet-stream")), TEXT]
    assert client.post("/v1/chat/completions", json=chat(content)).status_code == 200


def test_images_are_counted(client: httpx.Client) -> None:
    answer = client.post("/v1/chat/completions", json=chat([part(uri(SMALL))] * 4))
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == "messages[0].content[3].image_url.url"
    assert "at most 3" in error["message"]


def test_a_mark_in_a_text_is_no_image(client: httpx.Client) -> None:
    answer = client.post(
        "/v1/chat/completions",
        json=chat([part(uri(SMALL)), {"type": "text", "text": "<|image_pad|>"}]),
    )
    assert answer.status_code == 400
    assert "2 places for images" in answer.json()["error"]["message"]


def test_the_client_of_openai_sends_an_image(server: Running) -> None:
    answer = server.openai().chat.completions.create(
        model="sees",
        max_tokens=3,
        messages=[{"role": "user", "content": [part(uri(SMALL)), TEXT]}],  # type: ignore[list-item]
    )
    assert answer.usage is not None
    assert answer.usage.prompt_tokens > 0


def test_decisions_are_about_texts(client: httpx.Client) -> None:
    content = [{"type": "input_image", "image_url": uri(SMALL)}]
    question = {"type": "boolean", "name": "q", "instructions": "is it red?"}
    body = {
        "model": "sees",
        "input": [{"role": "user", "content": content}],
        "questions": [question],
    }
    answer = client.post("/v1/decisions", json=body)
    assert answer.status_code == 400
    assert "texts alone" in answer.text
