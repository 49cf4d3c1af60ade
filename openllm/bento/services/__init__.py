"""What BentoML loads and runs: a service of LLMs, of somebody's own class, or of one engine.

To add one: a module here with a subclass of `worker.HTTPService` and the function that makes it.
"""
