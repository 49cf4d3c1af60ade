"""Tests marked `vllm` need the real engine; without it they skip with the command that installs
it.
"""

from __future__ import annotations

import pytest

from openllm.backends.vllm.usable import find_installation

INSTALL = "needs vLLM: make install-vllm"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    found = find_installation()
    if found is None or found.fault:
        for item in items:
            if item.get_closest_marker("vllm") is not None:
                item.add_marker(pytest.mark.skip(reason=INSTALL))
