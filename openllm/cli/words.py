"""What the command line calls what an error speaks of: options as flags, calls as commands."""

from __future__ import annotations

from collections.abc import Mapping

from openllm.cli.given.options import flags
from openllm.errors import Words

_CALLS: Mapping[str, str] = {
    "LLM.adapters": "`openllm adapters list`",
    "LLM.generate": "/v1/completions",
    "LLM.embed": "/v1/embeddings",
    "LLM.score": "/v1/rerank",
    "LLM.classify": "/v1/classify",
    "LLMSpec": "`openllm start --help`",
    "list_instance_types": "`openllm deploy --instance-types`",
}


class FlagWords(Words):
    """`--max-model-len 4096`; a request's fields keep their names."""

    def option(self, name: str, value: str | None) -> str:
        whole, _, part = name.partition(".")
        flag = flags(whole)[0]
        said = f"{part}={value}" if part and value is not None else part or value
        return flag if said is None else f"{flag} {said}"

    def call(self, name: str) -> str:
        return _CALLS.get(name, name)


FLAGS = FlagWords()
