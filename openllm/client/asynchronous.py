"""AsyncClient: every call that a server answers, for asyncio."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Self
from urllib.parse import quote

import httpx

from openllm.client import values
from openllm.client.channel import AsyncChannel
from openllm.client.connection import DEFAULT_ENDPOINT, Access, ServerConnection
from openllm.client.failures import misshapen
from openllm.client.retries import Retries
from openllm.client.values import ChatAnswer, ChatDelta, Json, Ranked, ServedModel
from openllm.errors import EngineDead, ServeError, Unreachable
from openllm.types import GenerationOutput, Message

ADAPTERS = "/v1/adapters"
POLL_SECONDS = (0.05, 1.0)  # between looks at a server that loads: at first, and at the most
Messages = str | Sequence[Message | Json]


class AsyncClient:
    """A server at `endpoint`. It is asked nothing before a method is called.

    `transport` replaces the network, for tests: httpx.ASGITransport(app), httpx.MockTransport(f).
    `retries` is how often a request is sent again that the server could not take for the moment, or
    a `Retries`. Use it as an `async with` block, or call `close`.

    Errors, of every method: Unreachable when nobody answers, the answer breaks off or `timeout`
    (seconds; None: no limit) is over; BadAnswer for what no openllm server says; else what the
    server says, as the class of `openllm.errors` that it raised there.
    """

    def __init__(
        self,
        endpoint: str = DEFAULT_ENDPOINT,
        *,
        key: str | None = None,
        admin_key: str | None = None,
        timeout: float | None = None,
        retries: int | Retries = 2,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        patience = Retries(retries) if isinstance(retries, int) else retries
        access = Access(endpoint, key, admin_key, timeout, patience)
        channel = AsyncChannel(transport, access.httpx_timeout, not access.local)
        self._connection = ServerConnection(access, channel)

    @classmethod
    def over(cls, connection: ServerConnection) -> Self:
        """A client whose requests take another way."""
        client = cls.__new__(cls)
        client._connection = connection
        return client

    @property
    def endpoint(self) -> str:
        return self._connection.access.endpoint

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are kept open between calls."""
        await self._connection.channel.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.endpoint!r})"

    async def generate(
        self,
        /,
        prompt: str | Sequence[int],
        *,
        model: str | None = None,
        adapter: str | None = None,
        **sampling: Any,
    ) -> GenerationOutput:
        """Continue a text or token ids. `sampling` are the fields of `openllm.SamplingParams`."""
        body = _native(prompt, model, adapter, sampling)
        return values.read_generation(await self._connection.call("POST", "/v1/generate", body))

    async def stream(
        self,
        /,
        prompt: str | Sequence[int],
        *,
        model: str | None = None,
        adapter: str | None = None,
        **sampling: Any,
    ) -> AsyncIterator[GenerationOutput]:
        """As `generate`, while it is written: each output has only what is new; the last one has
        no outputs, and the usage.
        """
        body = _native(prompt, model, adapter, sampling)
        async for event in self._connection.events("/v1/generate_stream", body):
            yield values.read_generation(event)

    async def chat(
        self,
        /,
        messages: Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        **fields: Any,
    ) -> ChatAnswer:
        """Answer a conversation, or one message of the user's. `fields` are those of OpenAI's
        chat completions: tools, temperature, max_tokens, response_format and so on.
        """
        body = await self._chat(messages, model, system, fields)
        return values.read_chat(await self._connection.call("POST", "/v1/chat/completions", body))

    async def chat_stream(
        self,
        /,
        messages: Messages,
        *,
        model: str | None = None,
        system: str | None = None,
        **fields: Any,
    ) -> AsyncIterator[ChatDelta]:
        """As `chat`, while it is written; the last delta has the usage."""
        body = await self._chat(messages, model, system, fields)
        body |= {"stream": True, "stream_options": {"include_usage": True}}
        async for event in self._connection.events("/v1/chat/completions", body):
            for delta in values.read_chunk(event):
                yield delta

    async def embed(
        self, /, texts: str | Sequence[str], *, model: str | None = None, **fields: Any
    ) -> list[list[float]]:
        """One vector per text, in their order; for a single text a list of one."""
        body = {
            "input": texts if isinstance(texts, str) else list(texts),
            "model": model or await self._first_model(),
            "encoding_format": "base64",
            **fields,
        }
        return values.read_vectors(await self._connection.call("POST", "/v1/embeddings", body))

    async def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str | None = None,
        top_n: int | None = None,
    ) -> list[Ranked]:
        """The documents by their relevance for `query`, best first; the best `top_n` of them."""
        body: dict[str, Any] = {
            "model": model or await self._first_model(),
            "query": query,
            "documents": list(documents),
        }
        if top_n is not None:
            body["top_n"] = top_n
        return values.read_ranking(await self._connection.call("POST", "/v1/rerank", body))

    async def models(self) -> list[ServedModel]:
        """The models and adapters that requests may name; the first is the default."""
        return values.read_models(await self._connection.call("GET", "/v1/models"))

    async def metadata(self) -> Json:
        """What is served: version, models, engines, devices."""
        found: Json = await self._connection.call("GET", "/v1/metadata")
        return found

    async def adapters(self) -> list[ServedModel]:
        """The adapters that are mounted; needs the admin key."""
        return values.read_models(await self._connection.call("GET", ADAPTERS, admin=True))

    async def add_adapter(self, name: str, source: str, *, model: str | None = None) -> ServedModel:
        """Mount the adapter `source` as the model `name`; needs the admin key."""
        body = {"name": name, "source": source, **({"model": model} if model else {})}
        found = await self._connection.call("POST", ADAPTERS, body, admin=True)
        return values.read_models({"data": [found]})[0]

    async def remove_adapter(self, name: str) -> None:
        """Unmount an adapter once no request uses it; needs the admin key."""
        await self._connection.call("DELETE", f"{ADAPTERS}/{quote(name, safe='')}", admin=True)

    async def health(self) -> bool:
        """Whether it is ready to answer. Errors: Unreachable when nobody answers at all."""
        status, _ = await self._connection.status("/readyz")
        return status == 200

    async def wait_until_ready(self, seconds: float = 600.0) -> None:
        """Return once the server is ready, for which it need not have started yet.

        Errors: EngineDead when it says that it will never be; ServeError after `seconds`.
        """
        deadline, pause = time.monotonic() + seconds, POLL_SECONDS[0]
        while True:
            try:
                status, body = await self._connection.status("/readyz")
                state = _state(body)
            except Unreachable:
                status, state = 0, "no server answers"
            if status == 200:
                return
            if state == "dead":
                raise EngineDead(
                    f"The engine at {self.endpoint} is gone.", hint="Start the server again."
                )
            if time.monotonic() + pause > deadline:
                raise ServeError(
                    f"{self.endpoint} is not ready after {seconds:g} s ({state}).",
                    hint="Look at the server's log, or wait longer.",
                )
            await self._connection.channel.pause(pause)
            pause = min(pause * 2, POLL_SECONDS[1])

    async def _chat(
        self, messages: Messages, model: str | None, system: str | None, fields: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            "model": model or await self._first_model(),
            "messages": values.plain_messages(messages, system),
            **fields,
        }

    async def _first_model(self) -> str:
        known = await self.models()
        if not known:
            raise misshapen("model")
        return known[0].id


def _native(
    prompt: str | Sequence[int],
    model: str | None,
    adapter: str | None,
    sampling: Mapping[str, Any],
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "prompt": prompt if isinstance(prompt, str) else list(prompt),
        **sampling,
    }
    if model is not None:
        body["model"] = model
    if adapter is not None:
        body["adapter_name"] = adapter
    return body


def _state(body: object) -> str:
    state = body.get("status") if isinstance(body, Mapping) else None
    return state if isinstance(state, str) else "it does not say why"
