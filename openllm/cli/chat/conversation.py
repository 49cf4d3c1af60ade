"""What was said in a chat and how it is asked: model, system message, sampling, images."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs

from openllm.cli.given.messages import user_content
from openllm.client import ChatDelta, Client
from openllm.errors import ConfigurationError, OpenLLMError

FORMAT = "openllm-chat-1"


@attrs.define
class Talk:
    """One conversation with a server. A question that got no answer is kept for `retry`."""

    client: Client
    model: str | None = None
    system: str | None = None
    fields: dict[str, Any] = attrs.field(factory=dict)  # sampling, by its names on the wire
    structure: dict[str, Any] | None = None  # what the answers must follow
    images: list[str] = attrs.field(factory=list)  # for the next question, as data: URLs
    messages: list[dict[str, Any]] = attrs.field(factory=list)

    def ask(self, text: str) -> Iterator[ChatDelta]:
        """The answer, as it comes. However it ends, what came of it is kept. Errors: the
        client's.
        """
        question = {"role": "user", "content": user_content(text, self.images)}
        self.images.clear()
        self.messages.append(question)
        return self._answer()

    def retry(self) -> Iterator[ChatDelta]:
        """Another answer to the last question. Errors: ConfigurationError where there is none."""
        while self.messages and self.messages[-1]["role"] != "user":
            self.messages.pop()
        if not self.messages:
            raise ConfigurationError("There is no question yet.", hint="Ask one.")
        return self._answer()

    def _answer(self) -> Iterator[ChatDelta]:
        fields = dict(self.fields)
        if self.structure is not None:
            fields["response_format"] = self.structure
        answered = []
        deltas = self.client.chat_stream(
            self._sent(), model=self.model, system=self.system, **fields
        )
        try:
            for delta in deltas:
                answered.append(delta.text)
                yield delta
        finally:
            if text := "".join(answered):
                self.messages.append({"role": "assistant", "content": text})

    def _sent(self) -> list[dict[str, Any]]:
        """The messages, less questions that got no answer but the last: turns must alternate."""
        kept: list[dict[str, Any]] = []
        for message in self.messages:
            if kept and kept[-1]["role"] == message["role"]:
                kept.pop()
            kept.append(message)
        return kept

    def save(self, path: Path) -> None:
        """Write it down, readable for this user alone. Errors: OpenLLMError."""
        said = {
            "format": FORMAT,
            "model": self.model,
            "system": self.system,
            "fields": self.fields,
            "messages": self.messages,
        }
        try:
            path.touch(mode=0o600)
            path.write_text(json.dumps(said, indent=2, ensure_ascii=False) + "\n", "utf-8")
        except OSError as error:
            raise OpenLLMError(f"{str(path)!r} cannot be written: {error.strerror}.") from None

    def load(self, path: Path) -> None:
        """Go on with what `save` wrote; the model stays. Errors: OpenLLMError."""
        try:
            said = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise OpenLLMError(f"{str(path)!r} cannot be read: {error.strerror}.") from None
        except ValueError:
            said = None
        if not isinstance(said, dict) or said.get("format") != FORMAT or not _are_turns(said):
            raise OpenLLMError(f"{str(path)!r} is no saved chat.", hint="/save writes one.")
        self.system, self.fields = said.get("system"), dict(said.get("fields") or {})
        self.messages = said["messages"]


def _are_turns(said: dict[str, Any]) -> bool:
    turns = said.get("messages")
    return isinstance(turns, list) and all(
        isinstance(turn, dict) and turn.get("role") in {"user", "assistant"} for turn in turns
    )
