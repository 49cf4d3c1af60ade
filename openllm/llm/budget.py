"""What a request's thinking budget means for a model: how a thought is closed, and what follows."""

from __future__ import annotations

from functools import partial

import attrs

from openllm.answer.assembler import ChoiceAssembler
from openllm.answer.budget import ThinkingBudget
from openllm.answer.formats import ReasoningFormat, reasoning_format
from openllm.answer.generation import Submit
from openllm.llm.formats import reasoning_of
from openllm.llm.model import Model
from openllm.types import GenerationRequest, Reading, SamplingParams, Structure

_UNBOUND = SamplingParams()  # a thought has no stop strings


@attrs.frozen
class ThoughtLimit:
    """A request's thinking budget of `tokens`, and the format of the thoughts of its model."""

    tokens: int
    form: ReasoningFormat
    closing: list[int]  # what ends a thought, as token ids

    def closes_prompt(self, prompt_end: str) -> bool:
        """Whether the prompt has opened a thought that may have no token."""
        return self.tokens == 0 and self.form.begun(prompt_end)

    def kept(
        self,
        model: Model,
        prompt: list[int],
        prompt_end: str,
        after: Structure | None,
        engine: Submit,
    ) -> Submit:
        """`engine` with every thought kept to the limit; `after` is what an answer is kept to whose
        thought was closed.
        """
        watch = partial(_watch, model, prompt, prompt_end, self.form)
        return ThinkingBudget(self.tokens, self.closing, watch, after, engine).submit


def thought_limit(
    model: Model, request: GenerationRequest, reading: Reading
) -> ThoughtLimit | None:
    """None where the request says no budget, or the model has no thoughts that are known."""
    tokens = request.params.thinking_budget
    if tokens is None:
        return None
    name = reading.reasoning or reasoning_of(model, tools=bool(reading.tools))
    if name is None:
        return None
    form = reasoning_format(name)
    closing = model.decoding_tokenizer.encode(form.closing, add_special_tokens=False)
    return ThoughtLimit(tokens, form, closing.ids)


def _watch(
    model: Model, prompt: list[int], prompt_end: str, form: ReasoningFormat
) -> ChoiceAssembler:
    """A reader of one choice's thoughts."""
    parser = form.parser(prompt_end)
    special = model.token_table.special_tokens
    marks = {special[mark]: mark for mark in parser.markers if mark in special}
    tokenizer = model.decoding_tokenizer
    return ChoiceAssembler(tokenizer, _UNBOUND, prompt, reasoning=parser, marks=marks)
