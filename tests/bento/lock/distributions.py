"""Installed distributions that a test makes up."""

from __future__ import annotations

import importlib.metadata

import pytest

from openllm.bento.lock import completion


def install_only(monkeypatch: pytest.MonkeyPatch, **requires: list[str]) -> None:
    """Let exactly these distributions be installed, of version 1, with what they require."""

    class Installed:
        version = "1"

        def __init__(self, name: str) -> None:
            if name not in requires:
                raise importlib.metadata.PackageNotFoundError(name)
            self.name, self.requires = name, requires[name]

    monkeypatch.setattr(importlib.metadata, "distribution", Installed)
    monkeypatch.setattr(
        importlib.metadata, "distributions", lambda: [Installed(name) for name in requires]
    )
    monkeypatch.setattr(completion, "_providers", dict)  # each is called what its module is
