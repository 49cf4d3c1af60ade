"""An LLM as BentoML's service."""
