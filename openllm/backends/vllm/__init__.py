"""vLLM as a backend: pure mappings of spec and parameters, and a thin caller of its AsyncLLM."""
