"""What travels between the processes comes out as it went in, and nothing else is taken."""

from __future__ import annotations

import msgspec
import pytest

from openllm.backends import framing
from openllm.backends.base import Embeddings
from openllm.backends.framing import Splitter
from openllm.errors import AdapterNotFound, EngineError, InvalidRequest, OpenLLMError, Overloaded
from openllm.remote.frames import (
    FromEngine,
    Step,
    Submit,
    ToEngine,
    Trouble,
    from_trouble,
    from_vectors,
    pack,
    to_trouble,
    to_vectors,
)
from openllm.types import (
    PromptImages,
    SamplingParams,
    Structure,
    StructureKind,
    TokenDelta,
    TokenLogprob,
    TokenRequest,
)


def test_a_request_and_its_deltas() -> None:
    params = SamplingParams(
        temperature=0.5,
        logit_bias={7: -1.5},
        stop=("a", "b"),
        structure=Structure(StructureKind.REGEX, "a+"),
        n=2,
    )
    images = PromptImages((b"a file",), "key", "<image> what", [7, 2, 3], 1, 3)
    submit = Submit(3, TokenRequest("id", [1, 2, 3], params, "pirate", images=images))
    step = Step(
        [(3, TokenDelta([5], 1, "stop", 5, [TokenLogprob(5, -0.25, 1, ((5, -0.25),))], [None], 2))],
        [(4, Trouble("EngineError", "it failed"))],
    )
    for frame, kind in ((submit, ToEngine), (step, FromEngine)):
        (body,) = Splitter().feed(bytes(pack(frame)))
        assert msgspec.msgpack.decode(body, type=kind) == frame


def test_frames_are_found_however_the_bytes_are_cut() -> None:
    data = b"".join(bytes(pack(Step([(number, TokenDelta([number]))]))) for number in range(50))
    splitter = Splitter()
    bodies = [body for at in range(0, len(data), 7) for body in splitter.feed(data[at : at + 7])]
    steps = [msgspec.msgpack.decode(body, type=Step) for body in bodies]
    assert [step.deltas for step in steps] == [[(at, TokenDelta([at]))] for at in range(50)]


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "LARGEST", 100)
    with pytest.raises(InvalidRequest, match="100 is the most"):
        pack(Submit(1, TokenRequest("id", list(range(1000)), SamplingParams())))
    with pytest.raises(ValueError, match="101 bytes"):
        list(Splitter().feed((101).to_bytes(4, "big")))


def test_a_pickle_is_no_frame() -> None:
    import pickle

    with pytest.raises(msgspec.MsgspecError):
        msgspec.msgpack.decode(pickle.dumps(Submit), type=ToEngine)


@pytest.mark.parametrize("vectors", [[], [[0.1, -2.5, 1e-300]], [[1.0], [2.0], [3.0]]])
def test_vectors_keep_every_bit(vectors: list[list[float]]) -> None:
    found = Embeddings(vectors, 12)
    assert from_vectors(to_vectors(1, found)) == found


@pytest.mark.parametrize(
    "error",
    [
        InvalidRequest("Wrong.", hint="Do right.", param="prompt"),
        AdapterNotFound("None such.", param="model"),
        Overloaded("Full.", hint="Wait.", retry_after=7),
    ],
)
def test_errors_arrive_as_themselves(error: OpenLLMError) -> None:
    there = from_trouble(to_trouble(error))
    assert type(there) is type(error)
    assert vars(there) == vars(error)
    assert str(there) == str(error)


def test_what_openllm_did_not_raise_says_nothing_of_its_inside() -> None:
    there = from_trouble(to_trouble(KeyError("/secret/path")))
    assert type(there) is EngineError
    assert "secret" not in str(there)
    assert "KeyError" in str(there)
