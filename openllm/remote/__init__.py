"""An engine in a process of its own: the `Backend` contract as msgpack frames on a Unix socket.

To add a message: a frame in `frames`, which counts up its VERSION, and what `server` and `client`
do when it comes.
"""
