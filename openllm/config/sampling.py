"""From what a caller wrote to `SamplingParams`: defaults, then overrides, each value checked
against its range.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from openllm.discovery import did_you_mean
from openllm.errors import InvalidRequest, field
from openllm.types import SamplingParams, Structure

logger = logging.getLogger(__name__)
_MAX_SEED = 2**63 - 1
# name -> (lowest, highest, lowest itself allowed)
_NUMBERS: Mapping[str, tuple[float, float, bool]] = {
    "temperature": (0.0, 2.0, True),
    "top_p": (0.0, 1.0, False),
    "min_p": (0.0, 1.0, True),
    "repetition_penalty": (0.0, math.inf, False),
    "presence_penalty": (-2.0, 2.0, True),
    "frequency_penalty": (-2.0, 2.0, True),
}
_COUNTS: Mapping[str, tuple[int, int]] = {
    "top_k": (-1, 2**31 - 1),
    "seed": (-(2**63), _MAX_SEED),
    "max_tokens": (1, 2**31 - 1),
    "min_tokens": (0, 2**31 - 1),
    "n": (1, 2**31 - 1),
    "logprobs": (0, 2**31 - 1),
    "prompt_logprobs": (0, 2**31 - 1),
    "thinking_budget": (0, 2**31 - 1),
}
_FLAGS = ("include_stop", "ignore_eos", "skip_special_tokens")
# What a model's own generation_config.json may set.
_MODEL_NAMES = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
# What it may say and is named at start, with the values that change nothing (20 is what
# transformers writes for a length that nobody chose).
_NOT_FOLLOWED: Mapping[str, tuple[Any, ...]] = {
    "max_new_tokens": (),
    "max_length": (20,),
    "no_repeat_ngram_size": (0,),
    "encoder_no_repeat_ngram_size": (0,),
    "suppress_tokens": ([],),
    "begin_suppress_tokens": ([],),
    "bad_words_ids": ([],),
    "forced_bos_token_id": (),
    "forced_eos_token_id": (),
    "forced_decoder_ids": ([],),
    "min_new_tokens": (0,),
    "min_length": (0,),
    "typical_p": (1.0, 1),
    "num_beams": (1,),
    "penalty_alpha": (0, 0.0),
    "guidance_scale": (1, 1.0),
    "length_penalty": (1, 1.0),
    "sequence_bias": (),
}
_ALIASES = {"max_new_tokens": "max_tokens"}


def build_params(*layers: Mapping[str, Any]) -> SamplingParams:
    """Sampling parameters from layers, the strongest first; None in a layer means "not said".

    Errors: InvalidRequest that names the parameter, for unknown names, wrong types and values out
    of range.
    """
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        merged.update(
            {_ALIASES.get(key, key): value for key, value in layer.items() if value is not None}
        )
    params = SamplingParams(**{name: _checked(name, value) for name, value in merged.items()})
    if params.max_tokens is not None and params.min_tokens > params.max_tokens:
        raise _bad(
            "min_tokens",
            f"{params.min_tokens} is more than {field('max_tokens')} ({params.max_tokens})",
        )
    return params


def model_defaults(directory: Path) -> dict[str, Any]:
    """What the generation_config.json in a model's directory says of how to sample: what `vllm
    serve` takes from it but the length, and `do_sample`.

    A file that is missing or broken says nothing; a value out of range is left out with a warning,
    and so is what no engine here follows.
    """
    try:
        said = json.loads((directory / "generation_config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(said, dict):
        return {}
    found = {name: said[name] for name in _MODEL_NAMES if said.get(name) is not None}
    if said.get("do_sample") is False:
        found["temperature"] = 0.0
    left_out = sorted(
        f"{name} {_shown(said[name])}"
        for name, neutral in _NOT_FOLLOWED.items()
        if said.get(name) not in (None, *neutral)
    )
    if left_out:
        logger.warning("Not followed of generation_config.json: %s.", ", ".join(left_out))
    return {name: value for name, value in found.items() if _fits(name, value)}


def _fits(name: str, value: Any) -> bool:
    try:
        _checked(name, value)
    except InvalidRequest as error:
        logger.warning("generation_config.json is not followed: %s", error)
        return False
    return True


def _checked(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return _number(name, value)
    if name in _COUNTS:
        return _count(name, value, *_COUNTS[name])
    if name in _FLAGS:
        return _flag(name, value)
    special = _SPECIAL.get(name)
    if special is None:
        raise InvalidRequest(f"Unknown sampling parameter {name!r}.", hint=_meant(name), param=name)
    return special(name, value)


def _meant(name: str) -> str:
    """What may have been meant: a near miss, or all that there are."""
    known = sorted(attrs.fields_dict(SamplingParams))
    return did_you_mean(name, [*known, *_ALIASES]) or f"Known are {', '.join(known)}."


def _bad(name: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{field(name)}: {why}.", param=name)


def _number(name: str, value: Any) -> float:
    low, high, inclusive = _NUMBERS[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _bad(name, f"must be a number, got {_shown(value)}")
    fits = low <= value <= high if inclusive else low < value <= high
    if (
        not fits or value > sys.float_info.max
    ):  # NaN compares false; a whole number may be beyond any float
        bounds = f"{'[' if inclusive else '('}{low:g}, {high:g}{']' if high < math.inf else ')'}"
        raise _bad(name, f"must be in {bounds}, got {_shown(value)}")
    return float(value)


def _count(name: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise _bad(name, f"must be a whole number, got {_shown(value)}")
    if not low <= value <= high:
        raise _bad(name, f"must be between {low} and {high}, got {_shown(value)}")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise _bad(name, f"must be true or false, got {_shown(value)}")
    return value


def _stop(name: str, value: Any) -> tuple[str, ...]:
    stops = (value,) if isinstance(value, str) else value
    if not isinstance(stops, list | tuple) or not all(isinstance(stop, str) for stop in stops):
        raise _bad(name, f"must be a text or a list of texts, got {_shown(value)}")
    if "" in stops:
        raise _bad(name, "an empty stop string would end every answer at once")
    return tuple(stops)


def _token_ids(name: str, value: Any) -> tuple[int, ...]:
    if not isinstance(value, list | tuple):
        raise _bad(name, f"must be a list of token ids, got {_shown(value)}")
    return tuple(_count(name, item, 0, 2**31 - 1) for item in value)


def _allowed(name: str, value: Any) -> tuple[int, ...]:
    ids = _token_ids(name, value)
    if not ids:
        raise _bad(name, "an empty list would allow nothing")
    return tuple(sorted(set(ids)))


def _words(name: str, value: Any) -> tuple[str, ...]:
    words = (value,) if isinstance(value, str) else value
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise _bad(name, f"must be a list of texts, got {_shown(value)}")
    if not all(word.strip() for word in words):
        raise _bad(name, "must not hold an empty text")
    return tuple(dict.fromkeys(words))


def _bias(name: str, value: Any) -> dict[int, float]:
    if not isinstance(value, Mapping):
        raise _bad(name, f"must map token ids to numbers, got {_shown(value)}")
    return {_token_key(name, key): _bias_value(name, item) for key, item in value.items()}


def _token_key(name: str, key: Any) -> int:
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= 10:
        key = int(key)
    return _count(name, key, 0, 2**31 - 1)


def _bias_value(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not -100 <= value <= 100:
        raise _bad(name, f"a bias must be a number in [-100, 100], got {_shown(value)}")
    return float(value)


def _structure(name: str, value: Any) -> Structure:
    if not isinstance(value, Structure):
        raise _bad(name, f"must be an openllm.types.Structure, got {_shown(value)}")
    return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


_SPECIAL = {
    "stop": _stop,
    "stop_token_ids": _token_ids,
    "logit_bias": _bias,
    "allowed_token_ids": _allowed,
    "bad_words": _words,
    "structure": _structure,
}
