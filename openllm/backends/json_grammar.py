"""JSON schemas as grammars of xgrammar, for the engines that follow them: the same for all."""

from __future__ import annotations

from openllm.answer.schema.writing import json_grammar

__all__ = ["json_grammar"]
