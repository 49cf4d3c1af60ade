"""What starting a Bento does not do: import what nobody needs yet, and read weights that can be
mapped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from openllm.bento.services.llm import ServicePlan
from openllm.bento.serving.project import load_project, write_project
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.remote.__main__ import planned_llm
from openllm.remote.child import EnginePlan
from tests.tiny import write_llama

ENGINES = ("torch", "transformers", "tokenizers", "safetensors", "vllm", "keras")
LOAD = """
import json, sys
from _bentoml_impl.loader import load
service = load("service:svc", working_dir=sys.argv[1])
{then}
print(json.dumps(sorted(sys.modules)))
"""
GENERATE = """
import asyncio, json, sys
import openllm
async def main():
    llm = openllm.LLM(sys.argv[1], backend="pytorch")
    await llm.start()
    await llm.aclose()
def read():
    return int(open("/proc/self/io").readline().split()[1])
import torch, transformers.models.llama.modeling_llama, transformers.generation
from transformers import AutoModelForCausalLM, AutoTokenizer
before = read()
asyncio.run(main())
print(json.dumps({"read": read() - before, "modules": sorted(sys.modules)}))
"""


def run(code: str, *args: str) -> object:
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("then", ["", "service.to_asgi()"], ids=["supervisor", "worker"])
def test_no_engine_is_imported_before_it_is_loaded(
    home: Path, echo_model: Path, tmp_path: Path, then: str
) -> None:
    """BentoML's supervisor only loads the service; a worker answers /livez before it loads
    engines.
    """
    project = tmp_path / "project"
    project.mkdir()
    write_project(project, [LLMSpec(model_id=str(echo_model), backend="pytorch")])
    found = run(LOAD.replace("{then}", then), str(project))
    assert isinstance(found, list)
    assert {"bentoml", "openllm.bento.services.llm"} <= set(found)
    assert not set(ENGINES) & set(found)


def test_weights_are_mapped_and_extras_left_alone(tmp_path: Path) -> None:
    """The PyTorch engine: no more of the weights is read than their header, and what only some
    requests need is not imported."""
    model = write_llama(
        tmp_path / "model", hidden_size=512, intermediate_size=2048, num_hidden_layers=4
    )
    size = sum(path.stat().st_size for path in model.glob("*.safetensors"))
    assert size > 50_000_000
    found = run(GENERATE, str(model))
    assert isinstance(found, dict)
    assert found["read"] < size / 10
    assert not {"peft", "xgrammar", "vllm", "keras", "triton"} & set(found["modules"])


@pytest.mark.parametrize("seconds", [30.0, 120.0])
def test_one_time_to_drain_reaches_the_server_and_the_engine(
    home: Path, echo_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """`--drain-seconds` is no variable: who reads the environment again hears another value."""
    monkeypatch.setenv("OPENLLM_DRAIN_SECONDS", "7")
    spec = LLMSpec(model_id=str(echo_model), backend="echo")
    write_project(tmp_path, [spec])
    service = load_project(tmp_path, ServicePlan((spec,), Settings(drain_seconds=seconds)))
    service.to_asgi()
    server = service.life.server
    (llm,) = server.catalog.llms
    assert server.settings.drain_seconds == seconds
    assert llm.settings.drain_seconds == llm.backend.settings.drain_seconds == seconds


def test_the_time_to_drain_reaches_an_engine_in_a_process_of_its_own(
    echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLLM_DRAIN_SECONDS", "7")
    spec = LLMSpec(model_id=str(echo_model), backend="echo")
    plan = EnginePlan(spec.to_json(), "unused", drain_seconds=120.0)
    assert planned_llm(plan).backend.settings.drain_seconds == 120.0
