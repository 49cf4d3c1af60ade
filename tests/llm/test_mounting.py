"""What requests may have mounted; they learn nothing of the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

import attrs
import pytest

from openllm.config.settings import Settings
from openllm.errors import AdapterNotFound, Forbidden, InvalidRequest, OpenLLMError, WeightsError
from openllm.llm.llm import LLM
from openllm.llm.mounting import check_mountable, resolve_mountable
from openllm.weights.aliases import set_alias
from tests.adapters import CONFIG, REFUSED
from tests.tiny import write_adapter, write_llama


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
def store(tmp_path, made):
    stored = Path(shutil.copytree(made, tmp_path / "bentoml" / "models" / "pirate" / "abcd"))
    (stored / "model.yaml").write_text("name: pirate\nversion: abcd\n")
    return stored


@pytest.fixture
def said(tmp_path, root):
    """The settings of a server with that root and that store."""
    return Settings(adapter_root=root, bentoml_home=tmp_path / "bentoml")


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


def test_names_below_the_root_are_taken(said, root, base, store):
    expected = (root / "team" / "pirate").resolve()
    assert resolve_mountable(said, "team/pirate") == resolve_mountable(said, "link-in") == expected
    assert resolve_mountable(attrs.evolve(said, adapter_root=None), "pirate:abcd") == store
    assert check_mountable(said, "team/pirate", base).path == expected


def test_in_code_an_alias_is_an_adapter_and_a_path_is_none(said, root, base, store, monkeypatch):
    monkeypatch.chdir(root / "team")
    set_alias("pirate", "pirate:abcd", said.bentoml_home)
    set_alias("gone", "pirate:gone", said.bentoml_home)
    with LLM(str(base), backend="echo", settings=said) as llm:
        llm.run(llm.mount_adapter("one", "pirate"))
        with pytest.raises(WeightsError, match="The model store has no pirate:gone"):
            llm.run(llm.mount_adapter("two", "gone"))
        set_alias("pirate", "pirate:gone", said.bentoml_home)
        llm.run(llm.mount_adapter("two", Path("pirate")))
        assert llm.adapters == ("one", "two")


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
def test_a_way_out_of_the_root_is_a_bad_request(said, source):
    with pytest.raises(InvalidRequest) as caught:
        resolve_mountable(said, source)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "source", ["nowhere", "link-out", "mixed", "file", "other:1", "team/pirate/adapter_config.json"]
)
def test_missing_and_linked_out_look_the_same(said, store, source):
    with pytest.raises(AdapterNotFound) as caught:
        resolve_mountable(said, source)
    assert str(caught.value) == f"There is no adapter {source!r} to mount. Check its name."


def test_without_a_root_only_tags_are_taken(said, store):
    with pytest.raises(Forbidden, match="model store only"):
        resolve_mountable(attrs.evolve(said, adapter_root=None), "team/pirate")


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_to_a_request_names_no_path(said, root, base, name, tmp_path):
    REFUSED[name][0](root / "team" / "pirate")
    with pytest.raises(OpenLLMError) as caught:
        check_mountable(said, "team/pirate", base)
    assert caught.value.status == 400
    assert str(tmp_path) not in str(caught.value)
    assert "team/pirate" in str(caught.value)
