"""The name under which a service.py of earlier versions imports `create_service`."""

from __future__ import annotations

from openllm.bento.services.llm import create_service

__all__ = ["create_service"]
