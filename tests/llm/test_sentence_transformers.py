"""Models that sentence-transformers has written give its vectors and scores, here held to the
arithmetic of its modules over transformers' own models, and to the package where it is installed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn import functional

from openllm.errors import ContextLengthExceeded, InvalidRequest, WeightsError
from openllm.llm.llm import LLM
from openllm.prompt.pairs import Cut
from tests import tiny
from tests.sentence import (
    KINDS,
    TEMPLATE,
    without_template,
    write_answering,
    write_modules,
    write_tensors,
)

TEXTS = ["hello world", "How do I build a Bento?", "a", "requests join and leave the batch " * 2]
MEAN = ("Pooling", {"pooling_mode": "mean", "embedding_dimension": 64})
TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}
QUERY, DOCUMENTS = "how do I build it?", ["a bento carries the model", "hello", "join " * 12]


def states_of(path: Path, text: str, kind: Any = transformers.AutoModel) -> torch.Tensor:
    """The last hidden states `[tokens, width]` of one text."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = kind.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        inputs = tokenizer(text, return_tensors="pt")
        found = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    states: torch.Tensor = found.last_hidden_state[0]
    return states


async def vectors(path: Path, texts: Sequence[str] = TEXTS, **options: Any) -> torch.Tensor:
    async with LLM(path, backend="pytorch", dtype="float32") as llm:
        assert llm.spec.task == "embed"
        return torch.tensor((await llm.embed(texts, normalize=False, **options)).vectors)


def assert_equal(
    path: Path, found: torch.Tensor, wanted: Sequence[torch.Tensor], **how: Any
) -> None:
    torch.testing.assert_close(found, torch.stack(list(wanted)), atol=1e-5, rtol=0)
    if importlib.util.find_spec("sentence_transformers") is not None:
        from sentence_transformers import SentenceTransformer

        theirs = torch.tensor(SentenceTransformer(str(path), device="cpu").encode(TEXTS, **how))
        torch.testing.assert_close(found, theirs, atol=1e-5, rtol=0)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    return without_template(tiny.write_encoder(tmp_path / "encoder", pooling=None))


def weighted(states: torch.Tensor) -> torch.Tensor:
    places = torch.arange(1, len(states) + 1)[:, None]
    return (states * places).sum(0) / places.sum()


POOLED: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "cls": lambda states: states[0],
    "max": lambda states: states.max(0).values,
    "mean": lambda states: states.mean(0),
    "mean_sqrt_len_tokens": lambda states: states.sum(0) / len(states) ** 0.5,
    "weightedmean": weighted,
    "lasttoken": lambda states: states[-1],
}


async def test_every_pooling_and_all_of_them_joined(encoder: Path) -> None:
    modes = list(POOLED)
    write_modules(encoder, ("Pooling", {"pooling_mode": modes, "embedding_dimension": 64}), form={})
    states = [states_of(encoder, text) for text in TEXTS]
    wanted = [torch.cat([POOLED[mode](one) for mode in modes]) for one in states]
    assert_equal(encoder, await vectors(encoder), wanted)
    async with LLM(encoder, backend="pytorch", dtype="float32") as llm:
        asked = await llm.embed(TEXTS, pooling="weightedmean", normalize=False)
        torch.testing.assert_close(
            torch.tensor(asked.vectors), torch.stack([weighted(one) for one in states])
        )
        with pytest.raises(InvalidRequest, match="'median' is not one of cls, max"):
            await llm.embed(TEXTS, pooling="median")


async def test_modules_behind_the_pooling_and_prompts(encoder: Path) -> None:
    dense = {"in_features": 64, "out_features": 24, "bias": True, "use_residual": True, **TANH}
    prompts = {"query": "build: ", "passage": "serve a "}
    write_modules(
        encoder,
        MEAN,
        ("Dense", dense),
        ("LayerNorm", {"dimension": 24}),
        ("Normalize", {}),
        settings={"prompts": prompts, "default_prompt_name": "passage"},
        form={},
    )
    linear = write_tensors(
        encoder / "2_Dense",
        {"linear.weight": (24, 64), "linear.bias": (24,), "residual.weight": (24, 64)},
    )
    norm = write_tensors(encoder / "3_LayerNorm", {"norm.weight": (24,), "norm.bias": (24,)})

    def wanted(prompt: str) -> list[torch.Tensor]:
        rows = torch.stack([states_of(encoder, prompt + text).mean(0) for text in TEXTS])
        out = torch.tanh(rows @ linear["linear.weight"].T + linear["linear.bias"])
        out = out + rows @ linear["residual.weight"].T
        out = functional.layer_norm(out, (24,), norm["norm.weight"], norm["norm.bias"])
        return list(functional.normalize(out, dim=-1))

    async with LLM(encoder, backend="pytorch", dtype="float32") as llm:
        for name, prompt in ((None, "serve a "), ("query", "build: "), ("document", "")):
            found = await llm.embed(TEXTS, normalize=False, prompt_name=name)
            assert_equal(encoder, torch.tensor(found.vectors), wanted(prompt), prompt_name=name)
        with pytest.raises(InvalidRequest, match="It has document, passage, query"):
            await llm.embed(TEXTS, prompt_name="web")
        with pytest.raises(InvalidRequest, match="128 numbers; the model goes on with 64"):
            await llm.embed(TEXTS, pooling="cls+mean")
        score = (await llm.score(TEXTS[0], [TEXTS[1]])).scores[0]
        query, document = wanted("build: ")[0], wanted("serve a ")[1]
        assert score == pytest.approx(float(query @ document), abs=1e-5)


async def test_a_prompt_that_is_not_pooled(encoder: Path) -> None:
    settings = {"prompts": {"query": "build: "}, "default_prompt_name": "query"}
    pooling = ("Pooling", {**MEAN[1], "include_prompt": False})
    write_modules(encoder, pooling, settings=settings, form={})
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    skip = len(tokenizer("build: ")["input_ids"])
    counted = [states_of(encoder, "build: " + text)[skip:] for text in TEXTS]
    wanted = [one.sum(0) / max(len(one), 1) for one in counted]  # of "build: a" nothing is left
    assert_equal(encoder, await vectors(encoder), wanted)


async def test_a_text_is_lower_cased_and_cut(encoder: Path) -> None:
    write_modules(encoder, MEAN, form={"do_lower_case": True, "max_seq_length": 8})
    cut = [states_of(encoder, text.lower()) for text in TEXTS[:3:2]]
    found = await vectors(encoder, [text.upper() for text in TEXTS[:3:2]])
    torch.testing.assert_close(found, torch.stack([one.mean(0) for one in cut]))
    async with LLM(encoder, backend="pytorch", dtype="float32") as llm:
        assert llm.backend.info.max_model_len == 8
        with pytest.raises(ContextLengthExceeded):
            await llm.embed(TEXTS[3])
        assert (await llm.embed(TEXTS[3], truncate="end")).usage.prompt_tokens == 8


async def test_texts_that_are_turns_of_a_conversation(encoder: Path) -> None:
    (encoder / "chat_template.jinja").write_text(TEMPLATE)
    form = {
        "module_output_name": "token_embeddings",
        "modality_config": {
            kind: {"method": "forward", "method_output_name": "last_hidden_state"}
            | ({"format": "flat"} if kind == "message" else {})
            for kind in ("text", "message")
        },
        "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
    }
    settings = {"prompts": {"query": "build"}, "default_prompt_name": "query"}
    write_modules(encoder, MEAN, settings=settings, form=form)
    tokenizer = transformers.AutoTokenizer.from_pretrained(encoder)
    model = transformers.AutoModel.from_pretrained(encoder, dtype=torch.float32).eval()
    wanted = []
    for text in TEXTS:
        written = f"<s><system>: build\n<user>: {text}\nanswer"
        ids = tokenizer(written, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            wanted.append(model(input_ids=ids).last_hidden_state[0].mean(0))
    assert_equal(encoder, await vectors(encoder), wanted)


async def test_an_encoder_of_t5_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """As the first versions wrote it; the vectors are those of the encoder alone."""
    without_template(tiny.write_t5(tmp_path / "model" / "0_Transformer"))
    path = write_modules(
        tmp_path / "model",
        MEAN,
        ("sentence_transformers.models.Dense", {"in_features": 64, "out_features": 8, **TANH}),
        transformer="0_Transformer",
        form={},
    )
    linear = write_tensors(path / "2_Dense", {"linear.weight": (8, 64), "linear.bias": (8,)})
    inner = path / "0_Transformer"
    pooled = [states_of(inner, text, transformers.T5EncoderModel).mean(0) for text in TEXTS]
    wanted = [torch.tanh(linear["linear.weight"] @ one + linear["linear.bias"]) for one in pooled]
    assert_equal(path, await vectors(path), wanted)


async def test_weights_that_do_not_fit_are_refused_at_the_start(encoder: Path) -> None:
    dense = ("Dense", {"in_features": 64, "out_features": 8, **TANH})
    write_modules(encoder, MEAN, dense, form={})
    for shapes, says in (({}, "is missing"), ({"linear.weight": (9, 64)}, r"\[9, 64\]")):
        if shapes:
            write_tensors(encoder / "2_Dense", shapes)
        with pytest.raises(WeightsError, match=says):
            await vectors(encoder)
    (encoder / "2_Dense" / "model.safetensors").rename(encoder / "2_Dense" / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="pickled"):
        await vectors(encoder)


@pytest.mark.parametrize(("false", "kind"), [(9, "qwen3"), (None, "qwen3"), (9, "gpt2")])
async def test_a_language_model_that_answers_yes_or_no(
    tmp_path: Path, false: int | None, kind: str
) -> None:
    path = write_answering(tmp_path / "model", false=false, kind=kind)
    async with LLM(path, backend="pytorch", dtype="float32") as llm:
        assert llm.spec.task == "classify"
        found = (await llm.score(QUERY, DOCUMENTS)).scores
        with pytest.raises(ContextLengthExceeded, match="not cut"):
            await llm.score(QUERY, DOCUMENTS, cut=Cut(10))
    assert found == pytest.approx(answers(path, false), abs=1e-5)
    if importlib.util.find_spec("sentence_transformers") is not None:
        from sentence_transformers import CrossEncoder

        theirs = CrossEncoder(str(path), device="cpu")
        each = [float(theirs.predict([(QUERY, text)])[0]) for text in DOCUMENTS]
        assert found == pytest.approx(each, abs=1e-5)


def answers(path: Path, false: int | None) -> list[float]:
    """The scores, each pair alone by transformers' model."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    model = transformers.AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    scores = []
    for text in DOCUMENTS:
        written = f"<s><system>: Find it.\n<query>: {QUERY}\n<document>: {text}\nanswer"
        ids = tokenizer(written, add_special_tokens=False, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            last = model(input_ids=ids).logits[0, -1]
        scores.append(float(last[7] if false is None else last[7] - last[false]))
    return scores


def test_the_names_of_modules_are_those_of_the_package() -> None:
    """Where it is installed."""
    if importlib.util.find_spec("sentence_transformers") is None:
        pytest.skip("sentence-transformers is not installed")
    import pkgutil

    for path in KINDS.values():
        assert pkgutil.resolve_name(path)
