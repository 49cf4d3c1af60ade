"""An LLM as a Runner of BentoML: the same methods in a script, a service and a runner process.

To add a method: in `runnable.LLMRunnable`, under BentoML's decorator; every handle then has it.
"""
