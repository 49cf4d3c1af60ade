"""What sentence-transformers writes is read, in old and new spellings; what no engine does is
refused by its name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import UnsupportedFeature, WeightsError
from openllm.weights.labels import task_of
from openllm.weights.modules import Dense, LayerNorm, Normalize, model_directory, read_modules
from tests.sentence import write_modules

MEAN = ("Pooling", {"pooling_mode": "mean"})


def test_without_modules_nothing_is_said(tmp_path: Path) -> None:
    found = read_modules(tmp_path)
    assert (found.task, found.stages, found.prompts) == (None, (), {})
    assert model_directory(tmp_path) == tmp_path


def test_the_modules_behind_the_pooling(tmp_path: Path) -> None:
    dense = {"in_features": 4, "out_features": 2, "activation_function": "torch.nn.modules.GELU"}
    write_modules(
        tmp_path,
        MEAN,
        ("Dense", {**dense, "bias": False, "use_residual": True}),
        ("LayerNorm", {"dimension": 2}),
        ("sentence_transformers.models.Normalize", {}),
        ("sentence_transformers.models.Dropout", {}),
    )
    first, second, third = read_modules(tmp_path).stages
    assert isinstance(first, Dense)
    assert (first.inputs, first.outputs, first.activation) == (4, 2, "gelu")
    assert (first.bias, first.residual) == (False, True)
    assert isinstance(second, LayerNorm)
    assert isinstance(third, Normalize)
    assert read_modules(tmp_path).task == "embed"


def test_the_folder_of_earlier_versions(tmp_path: Path) -> None:
    inner = tmp_path / "0_Transformer"
    inner.mkdir()
    form = {"max_seq_length": 20, "do_lower_case": True}
    write_modules(tmp_path, MEAN, transformer="0_Transformer", form=form)
    assert model_directory(tmp_path) == inner
    for where in (tmp_path, inner):
        found = read_modules(where)
        assert found.pooling_file == tmp_path / "1_Pooling" / "config.json"
        assert (found.form.max_length, found.form.lower_case) == (20, True)


def test_a_transformer_of_ones_own_class(tmp_path: Path) -> None:
    write_modules(tmp_path, MEAN, ("Normalize", {}))
    path = tmp_path / "modules.json"
    modules = json.loads(path.read_text())
    path.write_text(json.dumps([{**modules[0], "type": "custom_st.Transformer"}, *modules[1:]]))
    found = read_modules(tmp_path)
    assert (found.task, found.stages) == ("embed", (Normalize(),))
    assert model_directory(tmp_path) == tmp_path
    path.write_text(json.dumps([*modules[:2], {**modules[2], "type": "custom_st.Transformer"}]))
    with pytest.raises(UnsupportedFeature, match="custom_st"):
        read_modules(tmp_path)


def test_prompts(tmp_path: Path) -> None:
    settings = {"prompts": {"web": "find: ", "query": None}, "default_prompt_name": "web"}
    write_modules(tmp_path, MEAN, settings=settings)
    found = read_modules(tmp_path)
    assert found.prompts == {"web": "find: ", "query": "", "document": ""}
    assert found.default_prompt == "web"


def test_how_long_a_text_may_be(tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"model_max_length": 30}))
    write_modules(tmp_path, MEAN, form={})
    assert read_modules(tmp_path).form.max_length == 30  # where version 6 writes it
    write_modules(tmp_path, MEAN, form={"processor_kwargs": {"model_max_length": 7}})
    assert read_modules(tmp_path).form.max_length == 7


@pytest.mark.parametrize(
    ("modules", "settings", "says"),
    [
        ([MEAN, ("sentence_transformers.models.CNN", {})], {}, "models.CNN"),
        ([MEAN, ("custom_st.Head", {})], {}, "custom_st.Head"),
        ([("Normalize", {})], {}, "before any Pooling"),
        ([MEAN, ("Normalize", {"module_input_name": "token_embeddings"})], {}, "token_embeddings"),
        (
            [MEAN, ("Dense", {"in_features": 1, "out_features": 1, "activation_function": "m.F"})],
            {},
            "m.F",
        ),
        ([MEAN], {"model_type": "SparseEncoder"}, "SparseEncoder"),
    ],
)
def test_what_no_engine_does(
    tmp_path: Path, modules: Any, settings: dict[str, Any], says: str
) -> None:
    write_modules(tmp_path, *modules, settings=settings)
    with pytest.raises(UnsupportedFeature, match=says) as caught:
        read_modules(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("modules", "settings", "says"),
    [
        ([MEAN, ("Dense", {"in_features": 3})], {}, "out_features"),
        ([("LogitScore", {"true_token_id": "yes"})], {}, "'yes'"),
        ([MEAN], {"default_prompt_name": "web"}, "'web'"),
        ([MEAN], {"prompts": {"web": 3}}, "no texts"),
    ],
)
def test_what_is_broken(tmp_path: Path, modules: Any, settings: Any, says: str) -> None:
    write_modules(tmp_path, *modules, settings=settings)
    with pytest.raises(WeightsError, match=says):
        read_modules(tmp_path)


@pytest.mark.parametrize("text", ['{"a": 1}', '[{"type": "t.Transformer"}, 3]', "["])
def test_a_torn_list(tmp_path: Path, text: str) -> None:
    (tmp_path / "modules.json").write_text(text)
    with pytest.raises(WeightsError, match="modules"):
        read_modules(tmp_path)


@pytest.mark.parametrize("path", ["../other", "/etc"])
def test_no_path_leads_out(tmp_path: Path, path: str) -> None:
    entry = {"type": "sentence_transformers.models.Pooling", "path": path}
    (tmp_path / "modules.json").write_text(json.dumps([entry]))
    with pytest.raises(WeightsError, match="outside"):
        read_modules(tmp_path)


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"architectures": ["BertForMaskedLM"]}, "embed"),
        ({"architectures": ["ElectraForPreTraining"]}, "embed"),
        ({"architectures": ["MistralModel"]}, "embed"),
        ({"architectures": ["T5EncoderModel"]}, "embed"),
        ({"architectures": ["GPT2LMHeadModel"]}, None),
        ({"architectures": ["BertLMHeadModel"], "is_decoder": True}, None),
        ({"architectures": ["GPT2DoubleHeadsModel"]}, None),
        ({"architectures": ["ChatGLMModel"]}, None),
        ({"architectures": ["AModel"], "auto_map": {"AutoModelForCausalLM": "a.A"}}, None),
        ({"architectures": ["UltravoxModel"], "audio_model_id": "a"}, None),
        ({"architectures": ["UltravoxModel"]}, None),
        ({"architectures": ["NVLM_D_Model"], "llm_config": {}}, None),
        ({"architectures": ["LlavaLlamaModel"]}, None),
        ({"architectures": ["SomeVLModel"], "vision_config": {}}, None),
        ({"architectures": ["CLIPModel"], "text_config": {}, "vision_config": {}}, "embed"),
        ({"architectures": ["T5ForConditionalGeneration"]}, None),
        ({"architectures": ["LlamaForCausalLM"]}, None),
        ({"architectures": None}, None),
        ({"architectures": ["BertForSequenceClassification"]}, "classify"),
    ],
)
def test_a_task_is_told_by_the_files(tmp_path: Path, config: Any, task: str | None) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert task_of(tmp_path) == task


def test_modules_tell_it_before_the_architecture(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    write_modules(tmp_path, MEAN)
    assert task_of(tmp_path) == "embed"
    write_modules(tmp_path, ("LogitScore", {"true_token_id": 1, "false_token_id": None}))
    assert task_of(tmp_path) == "classify"
