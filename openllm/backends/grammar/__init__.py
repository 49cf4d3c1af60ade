"""Structured output for the engines that follow xgrammar's masks: each structure is compiled and
followed in a process of its own, so that none can hold up an engine.

A grammar of a few lines can cost minutes of CPU per token, in C++ code that nothing can interrupt.
So an engine never calls it: it tells a grammar's process which token was drawn and goes on; the
mask for the next one comes when it comes, and a process that takes too much is killed. `store` is
what engines ask, `guide` what they follow, `forkserver` and `worker` are the processes.
"""
