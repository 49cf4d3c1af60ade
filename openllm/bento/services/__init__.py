"""What BentoML loads and runs: a service of LLMs, of somebody's own class, or of one engine."""
