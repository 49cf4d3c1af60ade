"""What travels between an engine's process and those that use it: plain values, msgpack, length
first; never pickle.

A frame is four bytes of length (big endian) and one msgpack array, `[tag, fields...]`. Requests
carry a number that their sender chose; answers and deltas carry it back. `Step` holds the deltas of
one loop tick for all requests.
"""

from __future__ import annotations

from array import array
from itertools import chain

import msgspec

from openllm.backends.base import BackendInfo, Embeddings, EngineStats
from openllm.backends.framing import framed
from openllm.errors import EngineError, OpenLLMError, Retryable
from openllm.types import EncodedText, TokenDelta, TokenRequest

VERSION = 5


class Frame(msgspec.Struct, array_like=True, gc=False):
    """Base of all frames."""


class Trouble(Frame):
    """An error as plain values."""

    kind: str  # the name of a class of openllm.errors
    message: str
    hint: str | None = None
    param: str | None = None
    code: str | None = None
    retry_after: int = 1


# To the engine.


class Submit(Frame, tag=1):
    """Generate; answered by deltas in `Step`s."""

    number: int
    request: TokenRequest


class Cancel(Frame, tag=2):
    """Nobody reads request `number` any more; no answer."""

    number: int


class StopChoice(Frame, tag=3):
    """Choice `index` of request `number` has ended for its reader; no answer."""

    number: int
    index: int


class Embed(Frame, tag=4):
    """Answered by `Vectors` or `Done`."""

    number: int
    prompts: list[list[int]]
    pooling: str | None = None
    skip: int = 0


class Mount(Frame, tag=5):
    """Answered by `Done`."""

    number: int
    name: str
    path: str


class Unmount(Frame, tag=6):
    """Answered by `Done`."""

    number: int
    name: str
    wait: bool = True


class Ask(Frame, tag=7):
    """Ask all other users of the engine for their report; answered by `Reports`."""

    number: int


class Classify(Frame, tag=9):
    """Answered by `Vectors`, the logits, or `Done`."""

    number: int
    inputs: list[EncodedText]


class Report(Frame, tag=8):
    """The answer to `Asked`."""

    number: int
    text: bytes


# From the engine.


class Hello(Frame, tag=20):
    """The first frame, as soon as the engine is up or has failed to come up."""

    version: int
    info: BackendInfo | None = None
    engine: str = ""  # the backend's name
    reason: str = ""  # one line: why that one
    trouble: Trouble | None = None


class Step(Frame, tag=21):
    """What one loop tick brought: deltas first, then the requests that failed."""

    deltas: list[tuple[int, TokenDelta]]
    failed: list[tuple[int, Trouble]] = []


class Status(Frame, tag=22):
    """How the engine is; sent when it has changed."""

    stats: EngineStats
    failure: str | None = None
    adapters: dict[str, str] = {}  # where each one's files are, by its name
    users: int = 0  # processes that use it
    leaving: bool = False  # it ends once its requests are over, and wants no more of them


class Done(Frame, tag=23):
    """The end of a call, or why it failed."""

    number: int
    trouble: Trouble | None = None


class Vectors(Frame, tag=24):
    """`size` numbers per vector, as doubles in this machine's byte order."""

    number: int
    size: int
    data: bytes
    prompt_tokens: int


class Asked(Frame, tag=25):
    """Another user of the engine wants this one's report."""

    number: int


class Reports(Frame, tag=26):
    """What the other users reported."""

    number: int
    texts: list[bytes]


ToEngine = Submit | Cancel | StopChoice | Embed | Mount | Unmount | Ask | Report | Classify
FromEngine = Hello | Step | Status | Done | Vectors | Asked | Reports

_encoder = msgspec.msgpack.Encoder()


def pack(frame: Frame) -> bytearray:
    """The bytes of a frame, length first. Errors: InvalidRequest when it is larger than
    `LARGEST`.
    """
    return framed(_encoder, frame)


def to_vectors(number: int, found: Embeddings) -> Vectors:
    size = len(found.vectors[0]) if found.vectors else 0
    data = array("d", chain.from_iterable(found.vectors)).tobytes()
    return Vectors(number, size, data, found.prompt_tokens)


def from_vectors(frame: Vectors) -> Embeddings:
    numbers = array("d", frame.data).tolist()
    size = max(frame.size, 1)
    return Embeddings(
        [numbers[at : at + size] for at in range(0, len(numbers), size)], frame.prompt_tokens
    )


def to_trouble(error: BaseException) -> Trouble:
    """Any error as plain values; one that is not openllm's own says no more than that the engine
    failed.
    """
    if not isinstance(error, OpenLLMError):
        error = EngineError(f"The engine failed: {type(error).__name__}.", hint="Its log has more.")
    wait = error.retry_after if isinstance(error, Retryable) else 1
    return Trouble(type(error).__name__, error.message, error.hint, error.param, error.code, wait)


def from_trouble(trouble: Trouble) -> OpenLLMError:
    """The error that `to_trouble` was given, or an EngineError where its class is unknown here."""
    kind = _kinds(OpenLLMError).get(trouble.kind, EngineError)
    if issubclass(kind, Retryable):
        return kind(trouble.message, hint=trouble.hint, retry_after=trouble.retry_after)
    return kind(trouble.message, hint=trouble.hint, param=trouble.param, code=trouble.code)


def _kinds(base: type[OpenLLMError]) -> dict[str, type[OpenLLMError]]:
    found = {base.__name__: base}
    for kind in base.__subclasses__():
        found |= _kinds(kind)
    return found
