"""A wire format of nobody's, as a third party would bring it: lines of JSON, errors and keys of its
own.

POST /lines/say takes {"text", "limit", "until", "live"} and answers {"said", "tokens"}; live, it
answers a line per piece and a last one with the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.routing import Route

from openllm.config.settings import Settings
from openllm.errors import InvalidRequest, OpenLLMError
from openllm.http.body.fields import required
from openllm.http.catalog import Catalog
from openllm.http.dialect import Dialect, Failure
from openllm.http.exchange import Exchange
from openllm.http.framing import NDJSON
from openllm.http.routes import Endpoint
from openllm.http.running import Work, respond
from openllm.types import GenerationOutput, TextDelta, Usage


class Lines(Dialect):
    """Lines of JSON."""

    content_type = b"application/vnd.lines+json"
    framing = NDJSON
    end = b'{"bye":true}\n'
    prefixes = ("/lines/",)
    fields: Mapping[str, str] = {"prompt": "text", "max_tokens": "limit", "stop": "until"}
    challenge = b'Lines realm="openllm"'
    key_hint = "`X-Lines-Key: KEY`"
    key_headers = (b"x-lines-key",)

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        return headers.get(b"x-lines-key", b"")

    def status(self, error: OpenLLMError) -> int:
        return 422 if isinstance(error, InvalidRequest) else error.status

    def error(self, failure: Failure) -> Any:
        return {"oops": failure.message, "where": failure.param}


LINES = Lines()


class LinesWire:
    """One answer."""

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: TextDelta) -> bytes:
        return LINES.frame({"piece": delta.text}) if delta.text else b""

    def closing(self, usage: Usage) -> bytes:
        return LINES.frame({"tokens": usage.completion_tokens}) + LINES.end

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        said = {"said": outputs[0].text, "tokens": outputs[0].usage.completion_tokens}
        return msgspec.json.encode(said)


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def say(exchange: Exchange) -> None:
        fields = await exchange.fields()
        prompt = required(fields, "text", fields.text("text"))
        overrides = {
            "max_tokens": fields.integer("limit", 1, 2**31 - 1),
            "stop": fields.texts("until", most=4),
        }
        live = fields.flag("live")
        fields.close()
        target = catalog.running(None, "generate")
        await respond(exchange, Work(target, [prompt], overrides, live), LinesWire())

    return [Route("/lines/say", Endpoint("/lines/say", say, LINES), methods=["POST"])]
