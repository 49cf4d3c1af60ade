"""What travels between an engine, its forkserver and the processes of grammars: msgpack, length
first; never pickle.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from openllm.backends.framing import framed


class GrammarFrame(msgspec.Struct, array_like=True, gc=False):
    """Base of all frames."""


class Vocabulary(GrammarFrame):
    """The tokens that masks are made for."""

    weights_dir: str  # where the tokenizer is
    width: int  # of the logits
    ends: tuple[int, ...]  # tokens that end an answer
    trust_remote_code: bool = False


# To the forkserver.


class Fork(GrammarFrame, tag=1):
    """Begin process `number`; a socket for it comes along."""

    number: int
    vocabulary: Vocabulary


class Kill(GrammarFrame, tag=2):
    """End process `number`, whatever it is doing."""

    number: int


# To the process of a grammar.


class Compile(GrammarFrame, tag=3):
    """The first frame; answered by `Compiled` or `Refused`."""

    kind: str  # a StructureKind
    value: str
    slow: bool  # it is known to take long
    compile_seconds: float  # of CPU
    trial: int  # tokens that are drawn at random to see what following it costs
    trial_length: int  # of these, before the next one is drawn from the beginning again
    trial_seconds: float  # of CPU, for one of those tokens
    mask_seconds: float  # of CPU, for one token
    memory: int  # bytes, beyond what the process has before it compiles


class Follow(GrammarFrame, tag=4):
    """Tokens that were drawn; answered by one `Mask` for each of them."""

    opened: list[int]  # guides that begin
    accepted: list[tuple[int, int]]  # (guide, token)
    closed: list[int]  # guides that are over


# From it.


class Trying(GrammarFrame, tag=9):
    """It is compiled; `Compiled` or `Refused` follows once some tokens have been tried."""


class Compiled(GrammarFrame, tag=5):
    """The structure can be followed."""

    first: bytes | None  # the mask of its first token; None: every token may come
    size: int  # bytes that it has taken
    source: str  # what xgrammar was given: a grammar, or a regular expression


class Refused(GrammarFrame, tag=6):
    """The structure cannot be followed."""

    reason: str
    supported: bool = True  # False: nothing can be followed with this model
    hint: str = ""


class Way(IntEnum):
    """How a guide stands after a token."""

    OPEN = 0
    DONE = 1  # the text is whole
    LOST = 2  # nothing may come next


class Mask(GrammarFrame, tag=7):
    """Which tokens may come next: a bit for each, in 32-bit words."""

    guide: int
    seconds: float  # of CPU that it took
    way: Way
    bits: bytes | None  # None: every token may come


class Died(GrammarFrame, tag=8):
    """The last frame, from the forkserver: the process was ended by a signal; 0: by itself."""

    signal: int


FromServer = Trying | Compiled | Refused | Mask | Died
ToServer = Fork | Kill | Compile | Follow

_encoder = msgspec.msgpack.Encoder()
_answers: msgspec.msgpack.Decoder[FromServer] = msgspec.msgpack.Decoder(FromServer)
_orders: msgspec.msgpack.Decoder[ToServer] = msgspec.msgpack.Decoder(ToServer)


def pack(frame: GrammarFrame) -> bytes:
    """The bytes of a frame, length first. Errors: InvalidRequest when it is too large."""
    return bytes(framed(_encoder, frame))


def read_answer(body: bytes) -> FromServer:
    """Errors: msgspec.MsgspecError."""
    return _answers.decode(body)


def read_order(body: bytes) -> ToServer:
    """Errors: msgspec.MsgspecError."""
    return _orders.decode(body)
