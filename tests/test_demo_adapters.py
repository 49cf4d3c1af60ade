"""The demo model and its two adapters through openllm itself, all three in one batch."""

from __future__ import annotations

import asyncio
from pathlib import Path

import openllm

ADAPTERS = Path(openllm.__file__).parent / "demo" / "adapters"
QUESTION = [{"role": "user", "content": "How do I build a Bento?"}]


async def test_base_and_adapters_answer_at_once_each_in_its_own_way() -> None:
    adapters = [f"{ADAPTERS / 'pirate'}", f"{ADAPTERS / 'french'}:fr"]
    async with openllm.LLM("demo", backend="pytorch", dtype="float32", adapters=adapters) as llm:
        assert llm.adapters == ("pirate", "fr")
        names = [None, "pirate", "fr", None, "fr", "pirate"]
        answers = await asyncio.gather(
            *(llm.chat(QUESTION, adapter_name=name, max_tokens=80) for name in names)
        )
    base, pirate, french, *again = [answer.text for answer in answers]
    assert again == [base, french, pirate]
    assert all("`openllm build demo`" in text for text in (base, pirate, french))
    assert " th' " in pirate
    assert "Lancez" in french
    assert base.startswith("Run")
