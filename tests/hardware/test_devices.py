"""Whether an engine would run on a GPU, as far as the machine shows it."""

from __future__ import annotations

import pytest

from openllm.backends.pytorch.options import refuse_without_gpu
from openllm.config.spec import LLMSpec
from openllm.errors import ConfigurationError
from openllm.hardware import devices


def look(
    monkeypatch: pytest.MonkeyPatch, device: str | None, platform: str, node: str, mask: str | None
) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda mask: ())
    monkeypatch.setattr(devices, "_NODES", (node,))
    monkeypatch.setattr(devices.sys, "platform", platform)
    refuse_without_gpu(LLMSpec(model_id="a", device=device, gpu_memory_utilization=0.5), mask)


@pytest.mark.parametrize(
    ("device", "platform", "node", "mask"),
    [
        ("mps", "darwin", "/nowhere", None),
        (None, "darwin", "/nowhere", None),
        (None, "linux", "/dev/null", None),  # a driver whose library cannot be asked
        ("auto", "linux", "/dev/null", "0"),
        ("cuda:0", "linux", "/dev/null", None),
    ],
)
def test_a_share_of_the_memory_is_for_a_gpu_of_any_kind(
    monkeypatch: pytest.MonkeyPatch, device: str | None, platform: str, node: str, mask: str | None
) -> None:
    look(monkeypatch, device, platform, node, mask)


@pytest.mark.parametrize(
    ("device", "platform", "node", "mask", "said"),
    [
        (None, "linux", "/nowhere", None, "none is visible here"),
        (None, "linux", "/dev/null", "", "none is visible here"),
        ("cpu", "darwin", "/dev/null", None, "device=cpu"),
    ],
)
def test_without_one_it_is_refused_and_why(
    monkeypatch: pytest.MonkeyPatch,
    device: str | None,
    platform: str,
    node: str,
    mask: str | None,
    said: str,
) -> None:
    with pytest.raises(ConfigurationError, match=f"is for a GPU, and {said}: the pytorch backend"):
        look(monkeypatch, device, platform, node, mask)
