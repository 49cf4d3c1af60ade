"""Adapters: what fits is taken, everything else is refused with its reason, and requests learn
nothing of the disk.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openllm.config.spec import AdapterSpec
from openllm.errors import (
    AdapterNotFound,
    ConfigurationError,
    Forbidden,
    InvalidRequest,
    OpenLLMError,
    WeightsError,
)
from openllm.weights.adapters import (
    check_adapter,
    check_mountable,
    resolve_adapter,
    resolve_under_root,
)
from tests.hub import FakeHub
from tests.tiny import write_adapter, write_gpt2, write_llama

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


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


def change(adapter: Path, **fields: object) -> Path:
    config = json.loads((adapter / CONFIG).read_text())
    (adapter / CONFIG).write_text(json.dumps({**config, **fields}))
    return adapter


def rename(adapter: Path, **names: str) -> Path:
    """Other names for the tensors whose names contain a key."""
    from safetensors.numpy import load_file, save_file

    tensors = load_file(adapter / WEIGHTS)
    for old, new in names.items():
        tensors = {name.replace(old, new): value for name, value in tensors.items()}
    save_file(tensors, adapter / WEIGHTS)
    return adapter


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


REFUSED = {
    "another type": (lambda path: change(path, peft_type="IA3"), "type IA3; only LORA"),
    "no type": (lambda path: change(path, peft_type=None), "only LORA"),
    "DoRA": (lambda path: change(path, use_dora=True), "DoRA"),
    "saved modules": (lambda path: change(path, modules_to_save=["lm_head"]), "modules_to_save"),
    "biases": (lambda path: change(path, bias="lora_only"), "bias=lora_only"),
    "a bias in B": (lambda path: change(path, lora_bias=True), "a bias in its matrices"),
    "parameters": (lambda path: change(path, target_parameters=["experts"]), "target_parameters"),
    "PiSSA": (
        lambda path: change(path, init_lora_weights="pissa_niter_16"),
        "init_lora_weights=pissa_niter_16",
    ),
    "code": (lambda path: change(path, auto_map={"AutoModel": "a.B"}), "code of its own"),
    "no config": (lambda path: (path / CONFIG).unlink(), f"has no {CONFIG}"),
    "torn config": (lambda path: (path / CONFIG).write_text("{"), "not readable JSON"),
    "no weights": (lambda path: (path / WEIGHTS).unlink(), f"has no {WEIGHTS}"),
    "pickled": (
        lambda path: (path / WEIGHTS).rename(path / "adapter_model.bin"),
        "adapter_model.bin is a pickled",
    ),
    "cut short": (
        lambda path: (path / WEIGHTS).write_bytes((path / WEIGHTS).read_bytes()[:-8]),
        "no whole safetensors",
    ),
    "unknown layers": (
        lambda path: rename(path, q_proj="query"),
        "changes .*query, which the base model does not have",
    ),
    "half a pair": (lambda path: rename(path, lora_B="lora_A"), "pair"),
    "embeddings": (
        lambda path: rename(path, **{"lora_A.weight": "lora_embedding_A"}),
        "no LoRA matrix of a linear",
    ),
    "magnitudes": (
        lambda path: rename(path, **{"lora_B.weight": "lora_magnitude_vector"}),
        "no LoRA matrix",
    ),
}


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
    assert resolve_adapter(AdapterSpec("a", str(made))) == made
    monkeypatch.chdir(made.parent)
    assert resolve_adapter(AdapterSpec.parse("./plain:b")) == made
    assert resolve_adapter(AdapterSpec.parse("plain")) == made
    with pytest.raises(WeightsError, match="There is no directory"):
        resolve_adapter(AdapterSpec("a", "./nowhere"))
    with pytest.raises(ConfigurationError, match="revision"):
        resolve_adapter(AdapterSpec("a", "./plain", "main"))
    with pytest.raises(ConfigurationError, match="demo is a model"):
        resolve_adapter(AdapterSpec("a", "demo"))


@pytest.fixture
def store(tmp_path, made, monkeypatch):
    home = tmp_path / "bentoml"
    stored = Path(shutil.copytree(made, home / "models" / "pirate" / "abcd"))
    (stored / "model.yaml").write_text("name: pirate\nversion: abcd\n")
    monkeypatch.setenv("BENTOML_HOME", str(home))
    return stored


def test_an_adapter_in_the_store(store, base):
    assert check_adapter(resolve_adapter(AdapterSpec("a", "pirate:abcd")), base).rank == 4
    with pytest.raises(WeightsError, match="no pirate:9"):
        resolve_adapter(AdapterSpec("a", "pirate:9"))
    assert resolve_adapter(AdapterSpec.parse("pirate:abcd:a")).name == "abcd"
    with pytest.raises(
        ConfigurationError, match="Write pirate:abcd:NAME"
    ):  # it reads as SOURCE:NAME
        resolve_adapter(AdapterSpec.parse("pirate:abcd"))


def test_an_adapter_on_the_hub(tmp_path, made, base, monkeypatch):
    with FakeHub() as hub:
        hub.connect(monkeypatch, tmp_path / "hf")
        old = hub.add("org/pirate", made)
        hub.add("org/pirate", {CONFIG: b"{}", "adapter_model.bin": b"x", "optimizer.pt": b"x"})
        directory = resolve_adapter(AdapterSpec.parse(f"org/pirate@{old}:fr"))
        assert directory.name == old
        assert check_adapter(directory, base).rank == 4
        with pytest.raises(WeightsError, match=r"org/pirate/adapter_model\.bin is a pickled"):
            resolve_adapter(AdapterSpec.parse("org/pirate"))
        with pytest.raises(WeightsError, match="The Hub has no model org/none"):
            resolve_adapter(AdapterSpec.parse("org/none"))


# While serving.


@pytest.fixture
def root(tmp_path, made):
    """An adapter root with good and bad things in and around it."""
    root = tmp_path / "root"
    shutil.copytree(made, root / "team" / "pirate")
    shutil.copytree(made, tmp_path / "outside")
    (root / "link-out").symlink_to(tmp_path / "outside")
    (root / "link-in").symlink_to(root / "team" / "pirate")
    (root / "mixed").mkdir()
    (root / "mixed" / CONFIG).symlink_to(tmp_path / "outside" / CONFIG)
    (root / "file").write_text("x")
    return root


def test_names_below_the_root_are_taken(root, base, store):
    expected = (root / "team" / "pirate").resolve()
    assert (
        resolve_under_root(root, "team/pirate") == resolve_under_root(root, "link-in") == expected
    )
    assert resolve_under_root(None, "pirate:abcd") == store
    assert check_mountable(root, "team/pirate", base).path == expected


OUT = [
    "../outside",
    "team/../../outside",
    "/etc",
    "~/x",
    "C:\\x",
    "a\\b",
    "https://x/y",
    "file:///etc",
    "",
    ".",
    "a//b",
    "a\0b",
]


@pytest.mark.parametrize("source", OUT)
def test_a_way_out_of_the_root_is_a_bad_request(root, source):
    with pytest.raises(InvalidRequest) as caught:
        resolve_under_root(root, source)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "source", ["nowhere", "link-out", "mixed", "file", "other:1", "team/pirate/adapter_config.json"]
)
def test_missing_and_linked_out_look_the_same(root, store, source):
    with pytest.raises(AdapterNotFound) as caught:
        resolve_under_root(root, source)
    assert str(caught.value) == f"There is no adapter {source!r} to mount. Check its name."


def test_without_a_root_only_tags_are_taken(store):
    with pytest.raises(Forbidden, match="model store only"):
        resolve_under_root(None, "team/pirate")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_to_a_request_names_no_path(root, base, name, tmp_path):
    REFUSED[name][0](root / "team" / "pirate")
    with pytest.raises(OpenLLMError) as caught:
        check_mountable(root, "team/pirate", base)
    assert caught.value.status == 400
    assert str(tmp_path) not in str(caught.value)
    assert "team/pirate" in str(caught.value)
