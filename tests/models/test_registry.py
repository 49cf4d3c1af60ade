"""Which family a model belongs to is decided by its id, then its architecture, and by nothing
else.
"""

from __future__ import annotations

import fnmatch
import itertools
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm import models
from openllm.errors import ConfigurationError, UnknownFamily
from openllm.models import families, registry
from openllm.models.base import LLMConfig

NAMES = """
apertus baichuan bert bge bge_reranker command cross_encoder deepseek deepseek_distill demo
devstral e5 embedding_gemma ernie exaone falcon flan_t5 gemma gemma4 generic glm gpt2 gpt_neox
gpt_oss granite gte gte_reranker hunyuan internlm jamba kimi lfm2 llama llama4 magistral minimax
ministral mistral mixtral modernbert nemotron nomic olmo opt phi qwen qwen2_5_coder qwen3_5
qwen3_embedding qwen3_next qwen_coder qwen_vl seed_oss smollm stablelm starcoder yi
"""
KNOWN = NAMES.split()
ARCHITECTURES = {
    "LlamaForCausalLM": "llama",
    "MistralForCausalLM": "mistral",
    "Qwen2ForCausalLM": "qwen",
    "Qwen3ForCausalLM": "qwen",
    "GemmaForCausalLM": "gemma",
    "Gemma2ForCausalLM": "gemma",
    "Gemma3ForCausalLM": "gemma",
    "PhiForCausalLM": "phi",
    "Phi3ForCausalLM": "phi",
    "GPT2LMHeadModel": "gpt2",
    "BertModel": "bert",
}


# Whose repositories hold pickled weights only, as their lists of files say.
PICKLED = (
    "baai/bge-m3",
    "baichuan-inc/baichuan2-*",
    "facebook/opt-*",
    "intfloat/e5-*-unsupervised",
)
UNITS = {"b": 1e9, "m": 1e6}
FILES = Path(families.__file__).parent.glob("[!_]*.py")


def test_the_families_are_the_files_of_their_folder() -> None:
    assert models.names() == sorted(path.stem for path in FILES)
    assert set(KNOWN) <= set(models.names())


@pytest.mark.parametrize("name", models.names())
def test_a_family_is_reached_by_its_name_and_its_aliases(name: str) -> None:
    family = models.get(name)
    assert issubclass(family, LLMConfig)
    assert family.__name__.endswith("Config")
    assert all(models.get(alias) is family for alias in (name.upper(), *family.aliases))


def test_no_word_names_two_families() -> None:
    words = [word for family in models.all_families() for word in (family.name, *family.aliases)]
    assert len(words) == len(set(words))


@pytest.mark.parametrize(
    ("text", "near"), [("lama", "llama"), ("mistrl", "mistral"), ("quen", "qwen")]
)
def test_an_unknown_family_names_the_nearest(text: str, near: str) -> None:
    with pytest.raises(
        UnknownFamily, match=rf"Unknown model family '{text}'. Did you mean .*{near}"
    ):
        models.get(text)


@pytest.mark.parametrize("name", sorted(set(KNOWN) - {"demo", "e5", "yi"}))  # two letters are few
def test_each_family_is_the_near_miss_of_its_name_with_a_letter_too_many(name: str) -> None:
    with pytest.raises(UnknownFamily, match=rf"Did you mean (.* or )?{name}\b"):
        models.get(f"{name}z")


def test_an_unknown_family_with_nothing_near_names_them_all() -> None:
    with pytest.raises(UnknownFamily, match=", ".join(models.names())):
        models.get("zzzzzzzz")


@pytest.mark.parametrize(("architecture", "name"), ARCHITECTURES.items())
def test_an_architecture_stands_for_one_family(architecture: str, name: str) -> None:
    family = models.find(architecture)
    assert family is not None
    assert family.name == name


def test_each_architecture_has_one_owner() -> None:
    for architecture in {name for family in models.all_families() for name in family.architectures}:
        # of what only a family told by id has, there may be none
        assert models.find(architecture) is not None or architecture in {
            name
            for family in models.all_families()
            if family.by_id_only
            for name in family.architectures
        }


@pytest.mark.parametrize("family", models.all_families(), ids=lambda family: family.name)
def test_an_architecture_is_its_familys_unless_that_is_told_by_id(family: type[LLMConfig]) -> None:
    for architecture in family.architectures:
        found = models.resolve("./somewhere", architecture)
        assert (found is family) is not family.by_id_only


@pytest.mark.parametrize("family", models.all_families(), ids=lambda family: family.name)
def test_what_is_like_a_familys_pattern_is_claimed_by_no_other(family: type[LLMConfig]) -> None:
    """Of each pattern a few ids that it fits, and of the known ids copies of somebody else."""
    ids = [_fitting(pattern, filler) for pattern in family.patterns for filler in ("", "x", "7b")]
    copies = [f"somebody/{known.partition('/')[2]}-tuned" for known in family.model_ids]
    for model_id in (*ids, *copies):
        claimed = {each.name for each in models.all_families() if each.matches(model_id)}
        assert len(claimed) <= 1, model_id
        assert model_id in copies or claimed == {family.name}, model_id


def _fitting(pattern: str, filler: str) -> str:
    """An id that `pattern` fits: the first of each set of letters, `filler` for each star."""
    letters = re.sub(r"\[(.)[^]]*\]", r"\1", pattern)
    return letters.replace("*/", "somebody/").replace("*", filler)


def test_an_architecture_nobody_claims_is_generic() -> None:
    assert models.find("NewForCausalLM") is None
    assert models.resolve("org/new", "NewForCausalLM").name == "generic"
    assert models.resolve("org/new").name == "generic"


@pytest.mark.parametrize(
    ("model_id", "architecture", "name"),
    [
        ("demo", "LlamaForCausalLM", "demo"),  # known id before architecture
        ("Qwen/Qwen3-Embedding-0.6B", "Qwen3ForCausalLM", "qwen3_embedding"),
        ("qwen/qwen3-embedding-0.6b", None, "qwen3_embedding"),
        (
            "acme/qwen3-embedding-0.6b-de",
            "Qwen3ForCausalLM",
            "qwen3_embedding",
        ),  # pattern before architecture
        ("acme/Llama-3.2-1B-tuned", None, "llama"),
        ("acme/tuned", "LlamaForCausalLM", "llama"),
        ("meta-llama--llama-3.2-1b-instruct:4f2c", None, "llama"),  # a tag of the model store
        ("google/gemma-3-1b-it", None, "gemma"),
        ("microsoft/phi-2", "PhiForCausalLM", "phi"),
        ("./meta-llama/Llama-3.2-1B", None, "generic"),  # a path says nothing
        ("./llama", "Qwen2ForCausalLM", "qwen"),
        ("C:/models/llama", "GPT2LMHeadModel", "gpt2"),
        ("C:\\models\\llama", "GPT2LMHeadModel", "gpt2"),
        ("~/demo", "LlamaForCausalLM", "llama"),
        ("Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen2ForCausalLM", "qwen2_5_coder"),
        ("acme/qwen3-coder-30b-a3b-awq", "Qwen3MoeForCausalLM", "qwen_coder"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2_5_VLForConditionalGeneration", "qwen_vl"),
        ("acme/Qwen3-Omni-30B", "Qwen3OmniMoeForConditionalGeneration", "generic"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "LlamaForCausalLM", "deepseek_distill"),
        ("01-ai/Yi-1.5-9B", "LlamaForCausalLM", "yi"),
        ("nvidia/Llama-3.1-Nemotron-Nano-8B-v1", "LlamaForCausalLM", "nemotron"),
        ("BAAI/bge-base-en-v1.5", "BertModel", "bge"),
        ("Alibaba-NLP/gte-modernbert-base", "ModernBertModel", "gte"),
        ("meta-llama/Llama-3.2-11B-Vision", "MllamaForConditionalGeneration", "generic"),
    ],
)
def test_id_decides_then_architecture_then_generic(
    model_id: str, architecture: str | None, name: str
) -> None:
    assert models.resolve(model_id, architecture).name == name


def test_every_known_id_belongs_to_its_own_family_whatever_its_architecture() -> None:
    for family, architecture in itertools.product(models.all_families(), [None, *ARCHITECTURES]):
        for model_id in family.model_ids:
            assert models.resolve(model_id, architecture) is family


@given(
    st.randoms(use_true_random=False),
    st.sampled_from([*ARCHITECTURES, None]),
    st.sampled_from(["demo", "a/b"]),
)
def test_the_order_of_the_families_changes_nothing(
    chance: random.Random, architecture: str | None, model_id: str
) -> None:
    shuffled = models.names()
    chance.shuffle(shuffled)
    with pytest.MonkeyPatch.context() as patch:
        expected = models.resolve(model_id, architecture)
        patch.setattr(registry, "names", lambda: shuffled)
        assert models.resolve(model_id, architecture) is expected


def test_two_families_that_claim_one_architecture_are_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class TwinConfig(LLMConfig):
        name = "twin"
        architectures = ("LlamaForCausalLM",)

    monkeypatch.setattr(registry, "all_families", lambda: [models.get("llama"), TwinConfig])
    with pytest.raises(
        ConfigurationError, match="llama and twin both claim architecture LlamaForCausalLM"
    ):
        models.find("LlamaForCausalLM")


@pytest.mark.parametrize("name", models.names())
def test_a_family_is_filled_in(name: str) -> None:
    family = models.get(name)
    if name == "generic":
        assert (family.default_id, family.architectures) == (None, ())
        return
    assert family.architectures
    assert family.license
    assert family.task != "generate" or family.lora_targets
    if name == "opt":  # of which there are only pickles
        assert (family.default_id, family.model_ids) == (None, ())
        return
    assert family.default_id
    assert re.fullmatch(r"demo|[\w.-]+/[\w.-]+", family.default_id)
    assert family.license_of(family.default_id) == family.license
    assert name == "demo" or set(family.model_ids) == set(family.models)


@pytest.mark.parametrize("name", models.names())
def test_no_model_is_named_of_which_there_are_only_pickles(name: str) -> None:
    for model_id in models.get(name).model_ids:
        assert not any(fnmatch.fnmatchcase(model_id.lower(), pattern) for pattern in PICKLED)


@pytest.mark.parametrize("name", models.names())
def test_facts_of_models_are_likely(name: str) -> None:
    """One of the sizes that stand in a model's name is about that of its weights, or of what a
    token passes of them.
    """
    for model_id, card in models.get(name).models.items():
        said = re.findall(r"[-_](\d+(?:[._]\d+)?)([bm])\b", model_id.lower())
        sizes = [float(size.replace("_", ".")) * UNITS[unit] for size, unit in said]
        counts = [count for count in (card.parameters, card.active) if count]
        near = [0.7 <= count / size <= 1.7 for count in counts for size in sizes]
        assert any(near) or not near, model_id
        assert card.context >= 512


def test_reading_the_registry_imports_nothing_heavy() -> None:
    code = (
        "import sys; from openllm import models; models.resolve('a/b',"
        " 'LlamaForCausalLM');print(*(m for m in ('torch', 'transformers', 'bentoml', 'attrs',"
        " 'msgspec', 'yaml') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
