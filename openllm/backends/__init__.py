"""Engines: token ids in, TokenDeltas out.

To add one: a package with FACTS in its module `facts` and BACKEND in its module `backend`, here or
as an entry point of the group `openllm.backends`.
"""
