"""What a benchmark asks the server beside its load: a model's name, token ids for prompts, and how
long its engine has had the requests.
"""

from __future__ import annotations

import httpx
from prometheus_client.parser import text_string_to_metric_families

from openllm.cli.bench.prompts import WORDS
from openllm.client.connection import Access

_PATIENCE = 10.0  # seconds
_NOT_READY = 503
# The phases of a request in the engine, as openllm's and vLLM's /metrics count them.
_PHASES = (
    ("openllm_queue_seconds", "openllm_prefill_seconds", "openllm_decode_seconds"),
    (
        "vllm:request_queue_time_seconds",
        "vllm:request_prefill_time_seconds",
        "vllm:request_decode_time_seconds",
    ),
)


class SideChannel:
    """Small questions to a server of whatever kind; what it does not know is None."""

    def __init__(self, endpoint: str, key: str | None) -> None:
        access = Access(endpoint, key)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        self._client = httpx.Client(
            base_url=access.endpoint,
            headers=headers,
            timeout=_PATIENCE,
            trust_env=not access.local,
        )

    def close(self) -> None:
        self._client.close()

    def loads(self) -> bool:
        """Whether it says that it is not ready yet; servers that have no such route are."""
        try:
            return self._client.get("/readyz").status_code == _NOT_READY
        except httpx.HTTPError:
            return False

    def token_pool(self, model: str) -> list[int] | None:
        """Ids of common words in the model's vocabulary; None where the server has no
        /tokenize.
        """
        body = {"model": model, "prompt": " ".join(WORDS), "add_special_tokens": False}
        try:
            answer = self._client.post("/tokenize", json=body)
            tokens = answer.json()["tokens"] if answer.is_success else None
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(tokens, list) or not all(isinstance(each, int) for each in tokens):
            return None
        return sorted(set(tokens)) or None

    def engine_seconds(self) -> tuple[float, float] | None:
        """For how long its engine has had requests since the server started (waiting, prefill and
        decoding), and how many of them.
        """
        try:
            answer = self._client.get("/metrics")
            found = _sums(answer.text) if answer.is_success else {}
        except (httpx.HTTPError, ValueError):
            return None
        for names in _PHASES:
            if all(f"{name}_sum" in found for name in names):
                counts = {found[f"{name}_count"] for name in names}
                if len(counts) == 1:
                    return sum(found[f"{name}_sum"] for name in names), counts.pop()
        return None


def _sums(text: str) -> dict[str, float]:
    """Each sample's name and value, summed over its labels. Errors: ValueError."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found
