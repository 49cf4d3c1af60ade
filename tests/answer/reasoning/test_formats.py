"""Thoughts in all formats, however they are cut, begun by the answer or by the prompt."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openllm.answer.formats import reasoning_format
from openllm.answer.grammar import Rules
from openllm.discovery import variants
from tests.answer.cutting import CUTS, Told, check_at_all_cuts, reasoning, told

FORMATS = list(variants("openllm.reasoning"))
CALLS = "<|tool_calls_section_begin|><|tool_call_begin|>"
CASES: dict[str, dict[str, list[Told]]] = {
    "granite": {
        "<think>Hm.</think><response>Yes.</response>": [("reasoning", "Hm."), ("text", "Yes.")],
        "<think>\nHm.\n</think>\n\nYes.": [("reasoning", "Hm."), ("text", "Yes.")],
        "Here is my thought process:\nHm.\n\nHere is my response:\nYes.": [
            ("reasoning", "Hm."),
            ("text", "Yes."),
        ],
        "Here's my thought process: a Here's my thing. Here's my response: b": [
            ("reasoning", " a Here's my thing. "),
            ("text", " b"),
        ],
        "Here is my house.": [("text", "Here is my house.")],
        "<response>Yes.</response>": [("text", "Yes.")],
        "Yes. </resp": [("text", "Yes. </resp")],
    },
    "kimi": {
        "<think>Hm.</think>Yes.": [("reasoning", "Hm."), ("text", "Yes.")],
        "◁think▷Hm. 思◁/think▷Yes.": [("reasoning", "Hm. 思"), ("text", "Yes.")],
        f"<think>Hm.\n{CALLS}": [("reasoning", "Hm."), ("text", CALLS)],
        "Yes.": [("text", "Yes.")],
    },
    "mistral": {
        "[THINK]Hm.[/THINK]Yes.": [("reasoning", "Hm."), ("text", "Yes.")],
        "<think>\nHm.\n</think>\nYes.": [("reasoning", "Hm."), ("text", "Yes.")],
        "[THINK]Hm. [1][TOOL_CALLS]f[ARGS]{}": [
            ("reasoning", "Hm. [1]"),
            ("text", "[TOOL_CALLS]f[ARGS]{}"),
        ],
        "[THIS] is text [THINK]": [("text", "[THIS] is text [THINK]")],
    },
    "gemma4": {
        "<|channel>thought\nHm.\n<channel|>Yes.": [("reasoning", "Hm."), ("text", "Yes.")],
        "<|channel>thought\n<channel|>Yes.": [("text", "Yes.")],
        "<|channel>thought\nHm.<|tool_call>call:f{}": [
            ("reasoning", "Hm."),
            ("text", "<|tool_call>call:f{}"),
        ],
        "<|channel>thou": [("text", "<|channel>thou")],
    },
    "command": {
        "<|START_THINKING|>Hm.<|END_THINKING|><|START_RESPONSE|>Yes.<|END_RESPONSE|>": [
            ("reasoning", "Hm."),
            ("text", "Yes."),
        ],
        "<|START_RESPONSE|>Yes.<|END_RESPONSE|>": [("text", "Yes.")],
        "<|START_THINKING|>Hm.<|END_THINKING|><|START_ACTION|>[]": [
            ("reasoning", "Hm."),
            ("text", "<|START_ACTION|>[]"),
        ],
    },
    "seed_oss": {
        "<seed:think>Hm. <think></seed:think>Yes.": [
            ("reasoning", "Hm. <think>"),
            ("text", "Yes."),
        ],
        "<seed:think>Hm": [("reasoning", "Hm")],
    },
    "think": {
        "<think>\nHm.\n\n</think>\n\nYes.\n": [("reasoning", "Hm."), ("text", "Yes.\n")],
        "<think>Hm.\n": [("reasoning", "Hm.\n")],
    },
}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [(name, text, expected) for name in CASES for text, expected in CASES[name].items()],
)
def test_what_is_found(name: str, text: str, expected: list[Told]) -> None:
    check_at_all_cuts(reasoning(name), text, expected)


@pytest.mark.parametrize("name", FORMATS)
def test_what_the_format_says_of_itself_is_what_its_parser_reads(name: str) -> None:
    form = reasoning_format(name)
    answer = f"{form.introduction}Yes."
    expected: list[Told] = [("reasoning", "Hm."), ("text", "Yes.")]
    check_at_all_cuts(reasoning(name), f"{form.opening}Hm.{form.closing}{answer}", expected)
    check_at_all_cuts(reasoning(name, f"a {form.opening}"), f"Hm.{form.closing}{answer}", expected)
    check_at_all_cuts(reasoning(name), answer, [("text", "Yes.")])
    assert form.begun(f"a {form.opening}")
    assert not form.begun(f"a {form.opening}Hm.{form.closing}")
    assert not form.begun("")


@pytest.mark.parametrize("name", FORMATS)
def test_a_thought_that_the_prompt_has_ended_is_none(name: str) -> None:
    form = reasoning_format(name)
    ended = reasoning(name, f"{form.opening}{form.closing}")
    check_at_all_cuts(ended, "Yes.", [("text", "Yes.")])


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), CUTS)
def test_whatever_is_written_the_cut_changes_nothing(
    name: str, data: st.DataObject, cuts: list[int]
) -> None:
    form = reasoning_format(name)
    marks = [*form.parser("").markers, form.opening, form.closing, form.introduction, "\n", " "]
    pieces = st.lists(st.sampled_from([*marks, "a", "<", "[", "◁", "é🙂", "Here"]), max_size=12)
    text = "".join(data.draw(pieces))
    make = reasoning(name, data.draw(st.sampled_from(("", form.opening))))
    assert told(make, text, cuts) == told(make, text) == told(make, text, range(len(text)))


@pytest.mark.parametrize("name", FORMATS)
def test_it_says_while_it_thinks(name: str) -> None:
    form = reasoning_format(name)
    parser, seen = form.parser(""), []
    for piece in (form.opening, "Hm.", form.closing, "Yes."):
        parser.feed(piece)
        seen.append(parser.thinking)
    assert seen == [True, True, False, False]
    assert form.parser(form.opening).thinking


@pytest.mark.parametrize("name", FORMATS)
def test_a_grammar_lets_a_thought_stand_before_an_answer(name: str) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    from xgrammar.testing import _is_grammar_accept_string as accepts

    from openllm.answer.schema.writing import json_grammar

    form = reasoning_format(name)
    thought = f"Hm. <b>{form.closing}"
    for prompt_end, allowed, refused in (
        ("", [f"{form.opening}{thought}1", "1"], [f"{form.opening}Hm.1", f"{thought}1"]),
        (form.opening, [f"{thought}1"], ["1", f"{form.opening}{form.closing}{form.closing}1"]),
    ):
        rules = Rules(json_grammar)
        grammar = rules.grammar(f'{form.grammar(rules, prompt_end)} "1"')
        compiled = xgrammar.Grammar.from_ebnf(grammar)
        assert [text for text in allowed if not accepts(compiled, text)] == []
        assert [text for text in refused if accepts(compiled, text)] == []
