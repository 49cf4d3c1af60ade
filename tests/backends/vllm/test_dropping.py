"""An LLM that nobody closes takes vLLM's processes along, though vLLM freezes the garbage
collector's heap.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.tiny import write_llama

pytestmark = pytest.mark.vllm

SCRIPT = """
import asyncio, gc, sys, psutil, openllm

def engines():
    found = 0
    for child in psutil.Process().children(recursive=True):
        try:
            found += "EngineCore" in " ".join(child.cmdline())
        except psutil.Error:
            pass
    return found

async def main():
    llm = openllm.LLM(sys.argv[1], backend="vllm", max_model_len=64)
    await llm.generate("hello", max_tokens=2)
    assert engines() == 1
    del llm
    gc.collect()
    async with asyncio.timeout(30):
        while engines():
            await asyncio.sleep(0.1)

if __name__ == "__main__":  # vLLM starts its process by importing this file anew
    asyncio.run(main())
    print("gone")
"""


def test_a_dropped_llm_takes_its_processes_along(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(write_llama(tmp_path / "model"))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.stdout.endswith("gone\n"), done.stderr
