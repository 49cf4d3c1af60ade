"""An engine that writes what it is told: for tests of how an answer is read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from openllm.backends.base import Backend, BackendInfo
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.facts import Facts
from openllm.llm.llm import LLM
from openllm.types import Running, Sink, TokenDelta, TokenLogprob, TokenRequest
from tests.tiny import EOS, VOCAB_SIZE

# A template that shows tools and calls as Hermes' and Qwen's do, and opens no thought.
TEMPLATE = (
    "{% if tools %}<|system|>TOOLS "
    "{% for tool in tools %}{{ tool | tojson }}{% endfor %}{% endif %}"
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}"
    "{% if message.reasoning_content %}<think>{{ message.reasoning_content }}</think>{% endif %}"
    "{% for call in message.tool_calls or [] %}<tool_call>{{ call.function.name }} "
    "{% if call.function.arguments is string %}TEXT {{ call.function.arguments }}"
    "{% else %}{{ call.function.arguments | tojson }}{% endif %}</tool_call>{% endfor %}"
    "{% endfor %}<|assistant|>"
    "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)


class ScriptedBackend(Backend):
    """Writes `script` token by token, whatever the prompt is, or the next of `scripts` while there
    are any; and keeps the requests. It says that it follows structures, and looks at none.
    """

    facts = Facts(name="scripted", title="a script", structures=True)

    def __init__(self, spec: LLMSpec, weights_dir: Path, tokenizer: Any) -> None:
        super().__init__(spec, weights_dir)
        self._tokenizer = tokenizer
        self.script = ""
        self.scripts: list[str] = []
        self.requests: list[TokenRequest] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    def unusable(cls, spec: LLMSpec, settings: Settings) -> str | None:
        return None

    async def start(self) -> None:
        """There is nothing to load."""

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(4096, VOCAB_SIZE, (EOS,), "none", "cpu")

    async def submit(self, request: TokenRequest, sink: Sink[TokenDelta]) -> Running:
        self.requests.append(request)
        script = self.scripts.pop(0) if self.scripts else self.script
        ids = self._tokenizer.encode(script, add_special_tokens=False)
        task = asyncio.get_running_loop().create_task(_write(request, sink, [*ids, EOS]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return _Writing(task)

    async def close(self) -> None:
        """Its requests run out."""


class _Writing:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    def cancel(self) -> None:
        self._task.cancel()

    def stop(self, index: int) -> None:
        """It runs out."""


async def _write(request: TokenRequest, sink: Sink[TokenDelta], ids: list[int]) -> None:
    most = request.params.max_tokens or 0
    certain = request.params.logprobs is not None
    for at, token in enumerate(ids[:most], start=1):
        await asyncio.sleep(0)
        reason = "stop" if at == len(ids) else "length" if at == most else None
        logprobs = [TokenLogprob(token, 0.0, 1, ())] if certain else None
        for index in range(request.params.n):
            sink.put(TokenDelta([token], index, reason, logprobs=logprobs))


class Scripted:
    """An `LLM` on a scripted engine, with a chat template of its own."""

    def __init__(self, path: Path, template: str, **options: Any) -> None:
        spec = LLMSpec(model_id=str(path), name="scripted", chat_template=template, **options)
        self.llm = LLM(spec, weights_dir=path, make_engine=self._make)
        self._backend: ScriptedBackend | None = None

    def _make(self, spec: LLMSpec, weights_dir: Path) -> tuple[Backend, str]:
        self._backend = ScriptedBackend(spec, weights_dir, self.llm.tokenizer)
        return self._backend, "the test says so"

    @property
    def backend(self) -> ScriptedBackend:
        assert self._backend is not None
        return self._backend

    def last_prompt(self) -> str:
        """The prompt of the last request, as text."""
        ids = self.backend.requests[-1].prompt_token_ids
        return str(self.llm.tokenizer.decode(ids))
