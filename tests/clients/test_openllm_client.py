"""The client of OpenLLM 0.4 and 0.5, as PyPI has it, against the demo: not a line of it is changed.

Its package is called openllm_client; nothing of it is ours. One method of its 0.5.7 works with no
server: `helpers.messages` asks for an answer of the type `str` where its own declaration allows
only models, and so raises what pydantic raises, once the answer is there.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

openllm_client = pytest.importorskip("openllm_client", reason="needs `make test-clients`")

PROMPT = "A Bento is"
GREEDY: Any = {"temperature": 0.0, "max_tokens": 8}
TURNS: Any = [{"role": "user", "content": "What is a Bento?"}]


@pytest.fixture
def client(demo: str) -> Iterator[Any]:
    with openllm_client.HTTPClient(demo, max_retries=0) as client:
        yield client


def rendered(client: Any, **options: Any) -> str:
    """The request that `helpers.messages` sends, and the text of the answer."""
    raw: Any = {"return_raw_response": True}
    body = {"messages": TURNS, "add_generation_prompt": False, **options}
    answer = client._post("/v1/helpers/messages", response_cls=None, json=body, options=raw)
    assert answer.headers["content-type"].startswith("text/plain")
    text: str = answer.text
    return text


def ours(demo: str, path: str, body: Any) -> Any:
    """What the server answers to our own client."""
    request = urllib.request.Request(
        demo + path, json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def test_it_is_healthy_and_reads_the_metadata(client: Any) -> None:
    assert client.health() is True
    metadata = client._metadata
    assert (metadata.model_id, metadata.serialisation, metadata.quantise) == (
        "demo",
        "safetensors",
        None,
    )
    assert client["model_id"] == "demo"
    assert client["max_tokens"] == 2048  # no limit but the context, as for every other client


def test_an_answer_is_the_one_that_others_get(client: Any, demo: str) -> None:
    answer = client.generate(PROMPT, **GREEDY)
    native = ours(demo, "/v1/generate", {"prompt": PROMPT, "logprobs": 0, **GREEDY})
    [output], [expected] = answer.outputs, native["outputs"]
    assert (answer.prompt, answer.finished) == (PROMPT, True)
    assert answer.prompt_token_ids == native["prompt_token_ids"]
    assert (output.text, output.token_ids) == (expected["text"], expected["token_ids"])
    assert output.finish_reason == expected["finish_reason"] == "length"
    total = sum(entry["logprob"] for entry in expected["logprobs"])
    assert output.cumulative_logprob == pytest.approx(total, abs=1e-3)
    assert output.logprobs is None
    assert client.query(PROMPT, **GREEDY).outputs[0].text == output.text


def test_configuration_stop_and_logprobs_are_honoured(client: Any) -> None:
    whole = client.generate(PROMPT, **GREEDY).outputs[0]
    word = whole.text.split()[-1]
    cut = client.generate(PROMPT, llm_config={"logprobs": 2}, stop=word, **GREEDY).outputs[0]
    assert (cut.finish_reason, word in cut.text) == ("stop", False)
    assert [max(table, key=table.get) for table in cut.logprobs] == cut.token_ids
    assert all(len(table) == 2 for table in cut.logprobs)


def test_a_stream_is_the_answer_in_pieces(client: Any) -> None:
    whole = client.generate(PROMPT, **GREEDY).outputs[0]
    pieces = list(client.generate_stream(PROMPT, **GREEDY))
    assert "".join(piece.text for piece in pieces) == whole.text
    assert [piece.token_ids for piece in pieces] == whole.token_ids
    *_, last = client.generate_iterator(PROMPT, **GREEDY)
    assert (last.finished, last.outputs[0].finish_reason) == (True, "length")
    assert last.outputs[0].cumulative_logprob == pytest.approx(whole.cumulative_logprob, abs=1e-3)


def test_an_answer_that_ends_by_itself_streams_whole(client: Any) -> None:
    """Its last token has no text, and what was held back for a stop string may come late."""
    prompt = rendered(client, add_generation_prompt=True)
    asked: Any = {"temperature": 0.0, "max_tokens": 200, "stop": ["\n\nnever said"]}
    whole = client.generate(prompt, **asked).outputs[0]
    pieces = list(client.generate_stream(prompt, **asked))
    assert whole.finish_reason == "stop"
    assert "".join(piece.text for piece in pieces) == whole.text


def test_messages_become_the_models_prompt(client: Any, demo: str) -> None:
    open_end = rendered(client)
    prompted = rendered(client, add_generation_prompt=True)
    assert prompted.startswith(open_end)
    assert len(prompted) > len(open_end)
    answer = client.generate(prompted, **GREEDY).outputs[0].text
    body = {"model": "demo", "messages": TURNS, **GREEDY}
    chat = ours(demo, "/v1/chat/completions", body)["choices"][0]["message"]["content"]
    assert answer.strip() == chat.strip()
    with pytest.raises(ValueError, match="subclass of BaseModel"):  # its own fault, see above
        client.helpers.messages(TURNS)


def test_its_asynchronous_twin(demo: str) -> None:
    async def main() -> None:
        async with openllm_client.AsyncHTTPClient(demo, max_retries=0) as client:
            assert await client.health() is True
            assert (await client._metadata).model_id == "demo"
            answer = await client.generate(PROMPT, **GREEDY)
            assert (await client.query(PROMPT, **GREEDY)).outputs == answer.outputs
            pieces = [piece.text async for piece in client.generate_stream(PROMPT, **GREEDY)]
            assert "".join(pieces) == answer.outputs[0].text

    asyncio.run(main())
