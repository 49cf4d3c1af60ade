"""Its backend."""

import attrs
from openllm_backwards.facts import FACTS

from openllm.backends.echo.backend import EchoBackend
from openllm.types import Running, Sink, TokenDelta, TokenRequest


class BackwardsBackend(EchoBackend):
    """The echo engine, from the prompt's last token to its first."""

    facts = FACTS

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        backwards = request.prompt_token_ids[::-1]
        return await super().submit(attrs.evolve(request, prompt_token_ids=backwards), sink)


BACKEND = BackwardsBackend
