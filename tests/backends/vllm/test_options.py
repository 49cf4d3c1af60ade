"""The user's engine arguments, converted by the types vLLM declares."""

from __future__ import annotations

import dataclasses
import enum
from typing import Annotated, Any, Literal

import pytest

from openllm.backends.vllm.options import convert_options
from openllm.errors import ConfigurationError


class Kernel(enum.Enum):
    FLASH = "package.flash"
    PLAIN = "package.plain"


@dataclasses.dataclass
class Compilation:
    mode: int = 0
    passes: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass
class Declared:
    """What vLLM's AsyncEngineArgs looks like: every kind of annotation it has."""

    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
    gpu_memory_utilization: float = 0.9
    enforce_eager: bool = False
    enable_prefix_caching: bool | None = None
    load_format: str = "auto"
    served: str | list[str] | None = None
    kv_cache_dtype: Literal["auto", "fp8", "fp8_e5m2"] = "auto"
    rank: Annotated[Literal[8, 16], "doc"] = 8
    modules: list[str] | None = None
    sizes: list[int] | None = None
    params: set[str] = dataclasses.field(default_factory=set)
    overrides: dict[str, Any] | None = None
    compilation_config: Compilation = dataclasses.field(default_factory=Compilation)
    kernel: Kernel | None = None
    quoted: "dict[str, Any] | MissingAtRunTime | None" = None  # type: ignore[name-defined]  # noqa: F821, UP037
    _private: int = 0


def converted(key: str, value: Any) -> Any:
    return convert_options({key: value}, Declared)[key]


@pytest.mark.parametrize(
    ("key", "value", "result"),
    [
        ("max_num_seqs", 12, 12),
        ("max_num_seqs", "12", 12),
        ("max_num_seqs", "null", None),
        ("max_num_batched_tokens", "8k", 8000),
        ("max_num_batched_tokens", "2K", 2048),
        ("gpu_memory_utilization", "0.5", 0.5),
        ("gpu_memory_utilization", 1, 1.0),
        ("enforce_eager", "true", True),
        ("enforce_eager", "OFF", False),
        ("enforce_eager", True, True),
        ("enable_prefix_caching", "None", None),
        ("load_format", "dummy", "dummy"),
        ("load_format", 5, "5"),
        ("served", "a,b", "a,b"),
        ("served", '["a", "b"]', ["a", "b"]),
        ("kv_cache_dtype", "fp8", "fp8"),
        ("rank", "16", 16),
        ("modules", "q_proj, v_proj", ["q_proj", "v_proj"]),
        ("sizes", "1,2,4", [1, 2, 4]),
        ("params", "a,b", {"a", "b"}),
        ("overrides", '{"a": [1]}', {"a": [1]}),
        ("overrides", {"a": 1}, {"a": 1}),
        ("compilation_config", '{"mode": 3}', Compilation(3)),
        ("kernel", "PLAIN", Kernel.PLAIN),
        ("kernel", "package.flash", Kernel.FLASH),
        ("quoted", {"a": 1}, {"a": 1}),
    ],
)
def test_values_take_the_declared_type(key: str, value: Any, result: Any) -> None:
    made = converted(key, value)
    assert made == result
    assert type(made) is type(result)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("max_num_seqs", "many", "a whole number, got 'many'"),
        ("max_num_seqs", True, "a whole number"),
        ("max_num_seqs", 1.5, "a whole number"),
        ("gpu_memory_utilization", "half", "a number"),
        ("enforce_eager", "perhaps", "true or false"),
        ("kv_cache_dtype", "fp9", "one of fp8"),
        ("rank", 7, "one of 8, 16"),
        ("sizes", "1,b", "a list"),
        ("overrides", "{a", "is not JSON"),
        ("overrides", 5, "a JSON object"),
        ("compilation_config", "{}]", "is not JSON"),
        ("compilation_config", 5, "a JSON object"),
        ("kernel", "FAST", "one of FLASH, PLAIN"),
        ("MAX_NUM_SEQS", 4, "Did you mean max_num_seqs"),
        ("--max-num-seqs", 4, "Did you mean max_num_seqs"),
        ("compilation_config", {"mode": "x"}, "compilation_config, at mode: Input should be"),
        ("max_num_seq", 4, "Did you mean max_num_seqs"),
        ("max-num-seqs", 4, "Did you mean max_num_seqs"),
        ("swap_space", 4, "vLLM has no engine argument 'swap_space'"),
        ("_private", 4, "vLLM has no engine argument '_private'"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(key: str, value: Any, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        converted(key, value)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.param == key


@pytest.mark.vllm
def test_vllms_own_declarations_are_understood() -> None:
    from vllm import AsyncEngineArgs

    said = {
        "max_num_seqs": "16",
        "kv_cache_dtype": "fp8",
        "compilation_config": '{"mode": 0}',
        "enforce_eager": "1",
    }
    said |= {
        "speculative_config": '{"method": "ngram", "num_speculative_tokens": 3}',
        "attention_backend": "CPU_ATTN",
    }
    made = convert_options(said, AsyncEngineArgs)
    assert (made["max_num_seqs"], made["kv_cache_dtype"], made["enforce_eager"]) == (
        16,
        "fp8",
        True,
    )
    assert made["speculative_config"]["method"] == "ngram"
    assert made["attention_backend"].name == "CPU_ATTN"
    for field in dataclasses.fields(AsyncEngineArgs):
        if isinstance(field.default, bool | int | str) and not field.name.startswith("_"):
            assert (
                convert_options({field.name: field.default}, AsyncEngineArgs)[field.name]
                == field.default
            )
    with pytest.raises(ConfigurationError, match="gpu_memory_utilization"):
        convert_options({"gpu_mem_utilization": 0.5}, AsyncEngineArgs)
