"""A wire format for openllm: telegrams, a line of JSON for each piece of an answer.

GET /telegraph names what is served. POST /telegraph/send takes {"text", "words", "until", "live"}
and answers {"telegram", "words"}; live, it answers a line per piece and one with the count.
"""

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
from openllm.types import AnswerDelta, GenerationOutput, Usage

PATH = "/telegraph"
SEND = PATH + "/send"


class Telegraph(Dialect):
    """Lines of JSON."""

    content_type = b"application/vnd.telegraph+json"
    framing = NDJSON
    end = b'{"telegram":"STOP"}\n'
    prefixes = ("/telegraph/",)
    fields: Mapping[str, str] = {"prompt": "text", "max_tokens": "words", "stop": "until"}
    challenge = b'Telegraph realm="openllm"'
    key_hint = "`X-Telegraph-Key: KEY`"
    key_headers = (b"x-telegraph-key",)

    def key(self, headers: Mapping[bytes, bytes]) -> bytes:
        return headers.get(b"x-telegraph-key", b"")

    def status(self, error: OpenLLMError) -> int:
        return 422 if isinstance(error, InvalidRequest) else error.status

    def error(self, failure: Failure) -> Any:
        return {"bounced": failure.message, "at": failure.param}


TELEGRAPH = Telegraph()


class Telegram:
    """One answer."""

    def opening(self) -> bytes:
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        return TELEGRAPH.frame({"telegram": delta.text}) if delta.text else b""

    def closing(self, usage: Usage) -> bytes:
        return TELEGRAPH.frame({"words": usage.completion_tokens}) + TELEGRAPH.end

    def answer(self, outputs: Sequence[GenerationOutput]) -> bytes:
        words = outputs[0].usage.completion_tokens
        return msgspec.json.encode({"telegram": outputs[0].text, "words": words})


def routes(catalog: Catalog, settings: Settings) -> list[Route]:
    async def names(exchange: Exchange) -> None:
        words = [*(llm.name for llm in catalog.llms), ""]
        await exchange.answer_json({"telegram": " STOP ".join(words).strip()})

    async def send(exchange: Exchange) -> None:
        fields = await exchange.fields()
        prompt = required(fields, "text", fields.text("text"))
        overrides = {
            "max_tokens": fields.integer("words", 1, 2**31 - 1),
            "stop": fields.texts("until", most=4),
        }
        live = fields.flag("live")
        fields.close()
        target = catalog.running(None, "generate")
        await respond(exchange, Work(target, [prompt], overrides, live), Telegram())

    return [
        Route(PATH, Endpoint(PATH, names, TELEGRAPH), methods=["GET"]),
        Route(SEND, Endpoint(SEND, send, TELEGRAPH), methods=["POST"]),
    ]
