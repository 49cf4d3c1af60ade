"""An LLM as BentoML's Runner."""
