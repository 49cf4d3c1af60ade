"""What this server can be asked: /openapi.json, /docs.json and /docs, made of its own routes.

To add another form of it: a route of `endpoints`.
"""

from __future__ import annotations

from openllm.protocols.docs.endpoints import routes

__all__ = ["routes"]
