"""The backend before it starts: what it refuses, what it asks to install, and what it must not
import.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from openllm.backends.flax.backend import BACKEND as FLAX
from openllm.backends.keras import loader
from openllm.backends.tf.backend import BACKEND as TF
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError, EngineDead, MissingDependency, UnsupportedCombination
from tests.backends.keras.checkpoints import write_checkpoint


def spec(**fields: Any) -> LLMSpec:
    return LLMSpec(**{"model_id": "x", **fields})


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Make packages look uninstalled, and all others installed."""
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in names else object()
    )


@pytest.mark.parametrize(
    ("backend", "missing", "install"),
    [
        (FLAX, "keras_hub", "pip install keras-hub safetensors jax"),
        (FLAX, "jax", "pip install keras-hub safetensors jax"),
        (TF, "tensorflow", "pip install keras-hub safetensors tensorflow"),
    ],
)
async def test_a_missing_package_is_named_with_its_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backend: Any, missing: str, install: str
) -> None:
    path = write_checkpoint(tmp_path, "llama")
    without(monkeypatch, missing)
    reason = backend.unusable(spec(), Settings())
    assert reason is not None
    assert missing in reason
    assert install in reason
    with pytest.raises(MissingDependency, match=missing):
        loader.import_keras(backend.framework)
    assert path.is_dir()


def test_a_second_framework_in_one_process_is_one_clear_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch)
    running = SimpleNamespace(config=SimpleNamespace(backend=lambda: "tensorflow"))
    monkeypatch.setitem(sys.modules, "keras", running)
    assert TF.unusable(spec(), Settings()) is None
    assert "runs on tensorflow" in (FLAX.unusable(spec(), Settings()) or "")
    with pytest.raises(UnsupportedCombination, match="one framework only"):
        loader.import_keras("jax")


def test_asking_whether_it_is_usable_imports_no_framework() -> None:
    code = (
        "import sys; from openllm.config.spec import LLMSpec;"
        "from openllm.backends.flax import backend as flax; from openllm.backends.tf import backend"
        " as tf; from openllm.config.settings import Settings;"
        " flax.BACKEND.unusable(LLMSpec(model_id='x'), Settings());"
        " tf.BACKEND.unusable(LLMSpec(model_id='x'), Settings());"
        " print({'keras', 'keras_hub', 'jax',"
        " 'tensorflow', 'transformers', 'torch'} & set(sys.modules))"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=root
    )
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize(
    "fields",
    [
        {"task": "embed"},
        {"tensor_parallel_size": 2},
        {"kv_cache_dtype": "fp8"},
        {"enable_prefix_caching": True},
        {"speculative_model": "y"},
        {"gpu_memory_utilization": 0.5},
        {"adapters": ("a:b",)},
        {"quantization": "int8"},
    ],
)
def test_what_it_would_have_to_ignore_is_refused(tmp_path: Path, fields: dict[str, Any]) -> None:
    with pytest.raises(UnsupportedCombination, match=next(iter(fields))) as caught:
        FLAX(spec(**fields), tmp_path)
    assert "pytorch" in str(caught.value)


def test_what_asks_for_nothing_is_not_refused(tmp_path: Path) -> None:
    FLAX(
        spec(tensor_parallel_size=1, kv_cache_dtype="auto", engine_args={"verify": False}), tmp_path
    )


@pytest.mark.parametrize("options", [{"verbose": 1}, {"verify": "no"}])
def test_wrong_engine_options_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        FLAX(spec(engine_args=options), tmp_path)


def test_wrong_dtypes_are_refused_before_anything_loads(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="float16"):
        loader.load_runtime("jax", write_checkpoint(tmp_path / "a", "llama"), "float16")
    with pytest.raises(UnsupportedCombination, match="smollm3 models in float32 only"):
        loader.load_runtime("jax", write_checkpoint(tmp_path / "b", "smollm3"), "bfloat16")


async def test_before_start_there_is_nothing(tmp_path: Path) -> None:
    backend = FLAX(spec(), tmp_path)
    assert backend.failure is None
    assert backend.stats().running == 0
    with pytest.raises(EngineDead):
        _ = backend.info
    await backend.close()
