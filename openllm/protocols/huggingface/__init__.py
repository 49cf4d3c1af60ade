"""Hugging Face's wire formats: TGI's for text, TEI's for vectors."""

from __future__ import annotations

from openllm.protocols.huggingface.endpoints import routes

__all__ = ["routes"]
