"""One engine in a process of its own, reached over a Unix socket: the `Backend` contract as msgpack
frames.
"""
