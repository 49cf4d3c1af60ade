"""What errors say: one text, in the words of whoever shows it."""

from __future__ import annotations

import copy
import pickle

import pytest

from openllm.cli.words import FLAGS
from openllm.config.words import VARIABLES
from openllm.errors import (
    PYTHON,
    ConfigurationError,
    OpenLLMError,
    Words,
    call,
    field,
    option,
    say,
)

TEXT = (
    f"{field('max_tokens')} fits no {option('max_model_len')}: give {option('max_model_len', 4096)}"
    f" or {option('engine_args.block_size', 16)}, or use {call('LLM.embed')} with"
    f" {option('adapters')}."
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            PYTHON,
            (
                "max_tokens fits no max_model_len: give max_model_len=4096 or"
                " engine_args.block_size=16, or use LLM.embed with adapters."
            ),
        ),
        (
            FLAGS,
            (
                "max_tokens fits no --max-model-len: give --max-model-len 4096 or --engine-arg"
                " block_size=16, or use /v1/embeddings with --adapter-id."
            ),
        ),
        (
            VARIABLES,
            (
                "max_tokens fits no OPENLLM_MAX_MODEL_LEN: give OPENLLM_MAX_MODEL_LEN=4096 or"
                ' OPENLLM_ENGINE_ARGS={"block_size": 16}, or use LLM.embed with OPENLLM_ADAPTERS.'
            ),
        ),
    ],
)
def test_every_front_door_has_its_words(words: Words, said: str) -> None:
    assert say(TEXT, words) == said


def test_a_caller_in_python_sees_pythons() -> None:
    error = ConfigurationError(f"No {option('dtype')}.", hint=f"Give {option('dtype', 'auto')}.")
    assert str(error) == "No dtype. Give dtype=auto."
    assert error.args == ("No dtype.",)
    assert error.said(FLAGS) == "No --dtype. Give --dtype auto."


@pytest.mark.parametrize("again", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_can_still_be_said_otherwise(again: object) -> None:
    assert callable(again)
    made = again(ConfigurationError("No.", hint=f"Give {option('port', 1)}.", param="port"))
    assert isinstance(made, OpenLLMError)
    assert (made.said(FLAGS), made.param) == ("No. Give --port 1.", "port")


def test_one_error_can_hold_the_text_of_another() -> None:
    inner = ConfigurationError("No.", hint=f"Give {option('port', 1)}.")
    assert OpenLLMError(f"Spec 2: {inner.text}").said(FLAGS) == "Spec 2: No. Give --port 1."


@pytest.mark.parametrize("text", ["{option:port}", "option:port", "%(port)s", "\x02option:\x03"])
def test_other_texts_stay_as_they_are(text: str) -> None:
    assert say(text, FLAGS) == text


def test_what_somebody_sent_is_never_taken_for_a_name() -> None:
    sent = f"The model {option('port')!r} does not exist."
    assert say(sent, FLAGS) == sent
