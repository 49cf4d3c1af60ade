"""openllm's own interface: texts or token ids in, both out, and what is served."""

from __future__ import annotations

from openllm.protocols.native.endpoints import routes

__all__ = ["routes"]
