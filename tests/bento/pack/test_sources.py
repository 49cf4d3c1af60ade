"""What a spec names is checked the same way before it is served and before it is packed."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from openllm.backends.select import find_backend
from openllm.bento.pack.sources import check_sources
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import WeightsError
from tests.checkpoints import HOME
from tests.tiny import write_adapter, write_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_llama(tmp_path_factory.mktemp("base"))


def spec_of(base: Path, adapter: Path, **fields: int) -> LLMSpec:
    return LLMSpec(model_id=str(base), adapters=(AdapterSpec("a", str(adapter)),), **fields)


def test_an_adapter_that_the_engine_would_refuse_is_refused_before_anything_starts(
    base: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "a", base, rank_pattern={"q_proj": 16})
    check_sources(spec_of(base, adapter), find_backend("pytorch"), HOME)
    check_sources(spec_of(base, adapter), find_backend("vllm"), HOME)
    facts = attrs.evolve(find_backend("vllm").facts, uniform_adapters=True)
    uniform = type("Uniform", (find_backend("vllm"),), {"facts": facts})
    with pytest.raises(WeightsError, match="rank_pattern"):
        check_sources(spec_of(base, adapter), uniform, HOME)
    with pytest.raises(WeightsError, match="rank 16, above the limit of 8"):
        check_sources(spec_of(base, adapter, max_lora_rank=8), find_backend("pytorch"), HOME)
