"""Adapters: what fits is taken, everything else is refused with its reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openllm.config.spec import AdapterSpec
from openllm.errors import ConfigurationError, WeightsError
from openllm.weights.adapters import check_adapter, read_adapter, resolve_adapter
from openllm.weights.layers import find_layers
from tests.adapters import CONFIG, REFUSED, WEIGHTS, change, rename, respelled
from tests.checkpoints import HOME
from tests.hub import FakeHub
from tests.tiny import write_adapter, write_gpt2, write_llama


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def made(tmp_path_factory, base):
    """A plain adapter of rank 4."""
    return write_adapter(
        tmp_path_factory.mktemp("adapter") / "plain", base, target_modules=["q_proj", "down_proj"]
    )


@pytest.fixture
def adapter(tmp_path, made):
    """A copy of it to spoil."""
    return Path(shutil.copytree(made, tmp_path / "plain"))


def test_a_plain_adapter_is_described(made, base):
    checked = check_adapter(made, base, max_rank=4)
    assert (checked.path, checked.rank, checked.targets) == (made, 4, ("down_proj", "q_proj"))
    assert checked.base_model == str(base)
    assert checked.uniform
    assert len(checked.digest) == 64


@pytest.mark.parametrize("targets", ["all-linear", ["lm_head"], "model.layers.1.*.(q|k)_proj"])
def test_every_way_to_name_targets_fits(tmp_path, base, targets):
    adapter = write_adapter(tmp_path / "a", base, target_modules=targets)
    drop_base_layers(adapter)
    assert check_adapter(adapter, base).rank == 4


def drop_base_layers(adapter: Path) -> None:
    """What save_embedding_layers=False leaves out: copies of layers of the base model."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(adapter / WEIGHTS)
    save_file(
        {name: value for name, value in tensors.items() if "base_layer" not in name},
        adapter / WEIGHTS,
    )


def test_patterns_raise_the_rank_and_are_told(tmp_path, base):
    adapter = write_adapter(tmp_path / "a", base, rank_pattern={"q_proj": 16})
    checked = check_adapter(adapter, base)
    assert (checked.rank, checked.uniform) == (16, False)
    with pytest.raises(WeightsError, match="rank 16, above the limit of 8"):
        check_adapter(adapter, base, max_rank=8)
    with pytest.raises(WeightsError, match="rank_pattern"):
        check_adapter(adapter, base, uniform=True)


@pytest.mark.parametrize(
    ("fields", "scales"),
    [
        ({"lora_alpha": 8}, {"q_proj": 2.0, "down_proj": 2.0}),
        ({"lora_alpha": 8, "use_rslora": True}, {"q_proj": 4.0, "down_proj": 4.0}),
        ({"lora_alpha": None}, None),
        ({"lora_alpha": 8, "alpha_pattern": {"q_proj": 2}}, {"q_proj": 0.5, "down_proj": 2.0}),
        ({"alpha_pattern": {"(": 2}}, None),
        ({"alpha_pattern": ["q_proj"]}, None),
    ],
)
def test_each_layer_is_told_with_its_scale(adapter, fields, scales):
    change(adapter, **fields)
    if scales is None:
        with pytest.raises(WeightsError, match="no usable alpha"):
            read_adapter(adapter)
        return
    for module, layer in read_adapter(adapter).layers.items():
        assert layer.scale == scales[module.rpartition(".")[2]]
        assert layer.rank == 4
        assert module in layer.up
        assert module in layer.down


def test_without_its_base_model_the_adapter_alone_is_checked(adapter):
    assert check_adapter(rename(adapter, q_proj="query"), None).targets == ("down_proj", "query")
    with pytest.raises(WeightsError, match="rank 4, above the limit of 2"):
        check_adapter(adapter, None, max_rank=2)


def test_transposed_layers_fit(tmp_path):
    base = write_gpt2(tmp_path / "gpt2")
    adapter = write_adapter(tmp_path / "a", base)
    assert "c_attn" in check_adapter(adapter, base).targets
    change(adapter, fan_in_fan_out=False)
    with pytest.raises(WeightsError, match="shape"):
        check_adapter(adapter, base)


def test_a_tied_output_layer_fits(tmp_path, base):
    adapter = write_adapter(tmp_path / "a", base, target_modules=["lm_head"])
    drop_base_layers(adapter)
    assert check_adapter(
        adapter, write_llama(tmp_path / "tied", tie_word_embeddings=True)
    ).targets == ("lm_head",)


def test_a_checkpoint_with_fewer_outer_names_fits(adapter, base, tmp_path):
    """GPT-2's first checkpoints say h.0 where the model says transformer.h.0."""
    from safetensors.numpy import load_file, save_file

    bare = Path(shutil.copytree(base, tmp_path / "bare"))
    tensors = load_file(bare / "model.safetensors")
    save_file(
        {name.removeprefix("model."): value for name, value in tensors.items()},
        bare / "model.safetensors",
    )
    assert check_adapter(adapter, bare).rank == 4


@pytest.mark.parametrize(
    ("module", "layer"),
    [
        ("model.layers.0.mlp.up_proj", "model.language_model.layers.0.mlp.up_proj"),
        ("model.language_model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
        ("language_model.model.layers.0.mlp.up_proj", "model.layers.0.mlp.up_proj"),
        ("transformer.h.0.attn.c_attn", "h.0.attn.c_attn"),
        ("model.visual.blocks.0.q", None),
        ("model.layers.9.mlp.up_proj", None),
    ],
)
def test_a_layer_is_found_by_what_is_around_it(module: str, layer: str | None) -> None:
    known = [layer or "model.layers.0.mlp.up_proj", "visual.layers.0.mlp.up_proj"]
    assert find_layers([module], known) == {module: layer}


def test_a_layer_that_fits_two_places_fits_none() -> None:
    known = ["model.layers.0.q_proj", "language_model.layers.0.q_proj"]
    found = find_layers(["layers.0.q_proj", "model.layers.0.q_proj"], known)
    assert found["layers.0.q_proj"] is None
    assert found["model.layers.0.q_proj"] == "model.layers.0.q_proj"


def test_other_spellings_fit_and_two_adapters_do_not(adapter, base, tmp_path):
    path = respelled(adapter, tmp_path / "respelled")
    assert check_adapter(path, base).layers.keys() != check_adapter(adapter, base).layers.keys()
    assert check_adapter(path, base).targets == check_adapter(adapter, base).targets
    rename(path, **{"q_proj.lora_A.pirate": "q_proj.lora_A.other"})
    with pytest.raises(WeightsError, match="the matrices of 2 adapters"):
        read_adapter(path)


def test_experts_of_a_mixture_are_refused_where_no_engine_adds_to_them(adapter):
    rename(adapter, **{"mlp.down_proj": "mlp.experts.3.down_proj"})
    assert "down_proj" in check_adapter(adapter, None).targets
    with pytest.raises(WeightsError, match=r"experts\.3\.down_proj, an expert of a mixture"):
        check_adapter(adapter, None, experts=False)


def test_of_a_quantized_base_only_the_names_are_compared(adapter, base, tmp_path):
    from safetensors.numpy import load_file, save_file

    packed = Path(shutil.copytree(base, tmp_path / "packed"))
    config = json.loads((packed / "config.json").read_text())
    (packed / "config.json").write_text(
        json.dumps({**config, "quantization_config": {"quant_method": "gptq"}})
    )
    tensors = load_file(packed / "model.safetensors")
    renamed = {
        name.replace("proj.weight", "proj.qweight"): value.reshape(-1)
        for name, value in tensors.items()
    }
    save_file(renamed, packed / "model.safetensors")
    assert check_adapter(adapter, packed).rank == 4
    with pytest.raises(WeightsError, match="does not have"):
        check_adapter(rename(adapter, q_proj="z_proj"), packed)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_mounted_says_why(adapter, base, name):
    spoil, words = REFUSED[name]
    spoil(adapter)
    with pytest.raises(WeightsError, match=words) as caught:
        check_adapter(adapter, base)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize("shape", [{"hidden_size": 128}, {"intermediate_size": 96}])
def test_another_bases_adapter_is_refused_by_shape(tmp_path, made, shape):
    other = write_llama(tmp_path / "other", **shape)
    with pytest.raises(WeightsError, match=r"shape \[\d+, \d+\]; the base model's is .* made for"):
        check_adapter(made, other)


def test_an_adapter_of_fewer_layers_fits_and_of_more_does_not(tmp_path, made):
    assert check_adapter(made, write_llama(tmp_path / "deep", num_hidden_layers=3)).rank == 4
    with pytest.raises(WeightsError, match=r"layers\.1.* does not have"):
        check_adapter(made, write_llama(tmp_path / "flat", num_hidden_layers=1))


def test_a_model_is_no_adapter(base):
    with pytest.raises(WeightsError, match="holds a model, no adapter"):
        check_adapter(base, base)


# Where adapters come from.


def test_an_adapter_in_a_directory(made, monkeypatch):
    assert resolve_adapter(AdapterSpec("a", str(made)), HOME) == made
    monkeypatch.chdir(made.parent)
    assert resolve_adapter(AdapterSpec.parse("./plain:b"), HOME) == made
    assert resolve_adapter(AdapterSpec.parse("plain"), HOME) == made
    with pytest.raises(WeightsError, match="There is no directory"):
        resolve_adapter(AdapterSpec("a", "./nowhere"), HOME)
    with pytest.raises(ConfigurationError, match="revision"):
        resolve_adapter(AdapterSpec("a", "./plain", "main"), HOME)
    with pytest.raises(ConfigurationError, match="demo is a model"):
        resolve_adapter(AdapterSpec("a", "demo"), HOME)


@pytest.fixture
def home(tmp_path, made):
    """A store with one adapter, pirate:abcd."""
    stored = Path(shutil.copytree(made, tmp_path / "bentoml" / "models" / "pirate" / "abcd"))
    (stored / "model.yaml").write_text("name: pirate\nversion: abcd\n")
    return tmp_path / "bentoml"


def test_an_adapter_in_the_store(home, base):
    assert check_adapter(resolve_adapter(AdapterSpec("a", "pirate:abcd"), home), base).rank == 4
    with pytest.raises(WeightsError, match="no pirate:9"):
        resolve_adapter(AdapterSpec("a", "pirate:9"), home)
    assert resolve_adapter(AdapterSpec.parse("pirate:abcd:a"), home).name == "abcd"
    with pytest.raises(
        ConfigurationError, match="Write pirate:abcd:NAME"
    ):  # it reads as SOURCE:NAME
        resolve_adapter(AdapterSpec.parse("pirate:abcd"), home)


def test_an_adapter_on_the_hub(tmp_path, made, base, monkeypatch):
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "hf")
        old = hub.add("org/pirate", made)
        hub.add("org/pirate", {CONFIG: b"{}", "adapter_model.bin": b"x", "optimizer.pt": b"x"})
        directory = resolve_adapter(AdapterSpec.parse(f"org/pirate@{old}:fr"), HOME)
        assert directory.name == old
        assert check_adapter(directory, base).rank == 4
        with pytest.raises(WeightsError, match=r"org/pirate/adapter_model\.bin is a pickled"):
            resolve_adapter(AdapterSpec.parse("org/pirate"), HOME)
        with pytest.raises(WeightsError, match="The Hub has no model org/none"):
            resolve_adapter(AdapterSpec.parse("org/none"), HOME)
