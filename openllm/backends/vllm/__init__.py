"""vLLM as a backend; importing this imports neither vLLM nor torch."""

from openllm.backends.vllm.backend import VLLMBackend

BACKEND = VLLMBackend
