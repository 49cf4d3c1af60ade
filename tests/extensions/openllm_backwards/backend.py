"""Its backend."""

from collections.abc import AsyncGenerator

import attrs
from openllm_backwards.facts import FACTS

from openllm.backends.echo.backend import EchoBackend
from openllm.types import EngineRequest, Take, TokenDelta


class BackwardsBackend(EchoBackend):
    """The echo engine, from the prompt's last token to its first."""

    facts = FACTS

    async def generate(
        self, request: EngineRequest, take: Take | None = None
    ) -> AsyncGenerator[TokenDelta]:
        backwards = request.prompt_token_ids[::-1]
        turned = attrs.evolve(request, prompt_token_ids=backwards)
        async for delta in super().generate(turned, take):
            yield delta


BACKEND = BackwardsBackend
