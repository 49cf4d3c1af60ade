"""Logits of a classifier equal transformers', on every engine that says it classifies; its scores
are those of sentence-transformers' CrossEncoder, which are these logits and an activation.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
import pytest_asyncio
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from openllm.backends.echo.backend import EchoBackend
from openllm.backends.select import find_backend
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.errors import ContextLengthExceeded, InvalidRequest, UnsupportedFeature
from openllm.facts import backend_names, facts_of
from openllm.llm.llm import LLM
from openllm.prompt.pairs import Cut, Pair
from openllm.types import EncodedText
from tests.backends.engines import engine_params, repeats
from tests.backends.test_contract import in_child
from tests.sentence import write_answering
from tests.tiny import write_classifier

pytestmark = pytest.mark.asyncio(loop_scope="module")

QUERY = "how do I build and serve a bento?"
DOCUMENTS = ("a bento carries the model", "hello", "requests join and leave the batch " * 4, "a b")
CLASSIFYING = [name for name in backend_names() if "classify" in facts_of(name).tasks]


def expected(path: Path, inputs: Sequence[str | Pair]) -> list[list[float]]:
    """Each input alone through transformers' own model and tokenizer."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForSequenceClassification.from_pretrained(path, dtype=torch.float32).eval()
    rows = []
    with torch.inference_mode():
        for one in inputs:
            texts = (one,) if isinstance(one, str) else (one.first, one.second)
            rows.append(model(**tokenizer(*texts, return_tensors="pt")).logits[0].tolist())
    return rows


def assert_close(found: Sequence[Sequence[float]], wanted: Sequence[Sequence[float]]) -> None:
    torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted), atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_classifier(tmp_path_factory.mktemp("classifier") / "reranker")


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=engine_params((*CLASSIFYING, "runner"))
)
async def llm(request: pytest.FixtureRequest, weights: Path) -> AsyncIterator[LLM]:
    name = "pytorch" if request.param == "runner" else request.param
    spec = LLMSpec(model_id=str(weights), backend=name, dtype="float32", task="classify")
    if why := find_backend(name).unusable(spec, Settings()):
        pytest.skip(why)
    make = in_child if request.param == "runner" else None
    async with LLM.from_spec(spec, make_engine=make) as llm:
        yield llm


async def test_pairs_and_texts(llm: LLM, weights: Path) -> None:
    inputs = [*(Pair(QUERY, text) for text in DOCUMENTS), *DOCUMENTS]
    found = await llm.classify(inputs, activate=False)
    assert [len(row) for row in found.rows] == [1] * len(inputs)
    assert found.labels == ("LABEL_0",)
    if not repeats(llm):
        assert_close(found.rows, expected(weights, inputs))


async def test_scores_are_between_0_and_1_in_the_order_of_the_logits(llm: LLM) -> None:
    scores = (await llm.score(QUERY, DOCUMENTS)).scores
    logits = (await llm.score(QUERY, DOCUMENTS, activate=False)).scores
    assert torch.tensor(logits).sigmoid().tolist() == pytest.approx(scores, abs=1e-6)
    many = await llm.score([QUERY] * len(DOCUMENTS), DOCUMENTS)
    assert many.scores == pytest.approx(scores, abs=1e-5)
    assert many.usage.prompt_tokens > len(DOCUMENTS)


async def test_what_is_too_long_is_refused_or_cut(llm: LLM) -> None:
    with pytest.raises(ContextLengthExceeded, match="128"):
        await llm.score(QUERY, "hello " * 200)
    assert (await llm.score(QUERY, "hello " * 200, cut=Cut(-1))).usage.prompt_tokens == 128
    assert (await llm.score(QUERY, "hello " * 200, cut=Cut(20))).usage.prompt_tokens == 20


async def test_bad_inputs_are_refused(llm: LLM) -> None:
    if not isinstance(llm.backend, EchoBackend):
        with pytest.raises(InvalidRequest):
            await llm.backend.classify([EncodedText([10**7])])
    with pytest.raises(InvalidRequest):
        await llm.classify([])
    with pytest.raises(InvalidRequest, match="2 queries and 4 documents"):
        await llm.score([QUERY, QUERY], DOCUMENTS)
    for work in (llm.generate("a", max_tokens=1), llm.embed("a")):
        with pytest.raises(UnsupportedFeature, match="sequence-classification"):
            await work


@pytest.mark.parametrize("kind", ["xlm_roberta", "modernbert", "qwen3"])
async def test_every_kind_on_pytorch(tmp_path: Path, kind: str) -> None:
    """Recognised by its files alone."""
    path = write_classifier(tmp_path / kind, kind, labels=3)
    inputs = [*(Pair(QUERY, text) for text in DOCUMENTS), *DOCUMENTS]
    async with LLM(path, backend="pytorch", dtype="float32") as llm:
        assert llm.spec.task == "classify"
        assert_close((await llm.classify(inputs, activate=False)).rows, expected(path, inputs))
        with pytest.raises(UnsupportedFeature, match="3 labels"):
            await llm.score(QUERY, DOCUMENTS)


@pytest.mark.vllm
@pytest.mark.parametrize("kind", ["xlm_roberta", "yes or no"])
async def test_other_kinds_on_vllm(tmp_path: Path, kind: str) -> None:
    """As on PyTorch, which is held to transformers and sentence-transformers."""
    if kind == "yes or no":
        path = write_answering(tmp_path / "model", false=9)
    else:
        path = write_classifier(tmp_path / "model", kind)
    found = []
    for backend in ("pytorch", "vllm"):
        spec = LLMSpec(model_id=str(path), backend=backend, dtype="float32", task="classify")
        if why := find_backend(backend).unusable(spec, Settings()):
            pytest.skip(why)
        async with LLM.from_spec(spec) as llm:
            found.append((await llm.score(QUERY, DOCUMENTS)).scores)
    assert_close(found[1:], found[:1])


async def test_a_decoder_that_names_no_padding_takes_one_at_a_time(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / "model", "qwen3", pad_token_id=None)
    async with LLM(path, backend="pytorch", dtype="float32") as llm:
        found = await llm.classify(DOCUMENTS, activate=False)
    assert_close(found.rows, expected(path, DOCUMENTS))
