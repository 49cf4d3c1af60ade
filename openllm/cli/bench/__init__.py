"""Load on a running server and what it does to it: the parts of `openllm bench`.

A load generator that only just keeps up measures itself. So answers are read in processes of their
own, off asyncio's transports and httptools' parser, and each says how busy it was.
"""
