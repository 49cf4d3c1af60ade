"""Weights by reference: the Bento names a commit on the Hub, and only the service fetches it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.inspect import inspect_bento, verify_bento
from openllm.bento.kubernetes.options import KubernetesOptions
from openllm.bento.kubernetes.workload import Workload
from openllm.bento.pack.sources import inside_sources
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ConfigurationError, OpenLLMError, WeightsError
from tests.bento.conftest import running
from tests.bento.models import write_echo_adapter
from tests.hub import FakeHub

REFERENCE = BuildOptions(by_reference=True)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    with FakeHub() as found:
        found.connect(monkeypatch, tmp_path / "cache")
        yield found


@pytest.fixture
def commit(hub: FakeHub, echo_model: Path, tmp_path: Path) -> str:
    files = tmp_path / "upload"
    shutil.copytree(echo_model, files)
    (files / "README.md").write_text("---\nlicense: mit\n---\n")
    return hub.add("birds/parrot", files)


def reference(**fields: object) -> BuildResult:
    return build(
        LLMSpec.from_dict({"model_id": "birds/parrot", "backend": "echo", **fields}), REFERENCE
    )


def test_the_bento_names_the_commit_and_carries_no_weights(
    home: Path, hub: FakeHub, commit: str
) -> None:
    built = reference()
    spec = json.loads((built.path / "src/spec.json").read_text())
    assert (spec["model_id"], spec["revision"], spec["family"]) == ("birds/parrot", commit, "llama")
    assert built.models == ()
    assert list((home / "models").iterdir()) == []
    assert not [path for _, path in hub.requests if path.endswith(".safetensors")]
    (model,) = inspect_bento(built.tag).models
    assert (model.tag, model.inside, model.licence) == (f"birds/parrot@{commit}", False, "MIT")
    weights = hub.repositories["birds/parrot"].commits[commit]
    assert model.size == sum(
        len(data) for name, data in weights.items() if name.endswith(".safetensors")
    )
    assert model.size > 0
    assert verify_bento(built.tag).problems == ()


def test_a_deployment_asks_for_memory_by_the_size_on_the_hub(
    home: Path, hub: FakeHub, commit: str
) -> None:
    built = reference()
    (model,) = inspect_bento(built.tag).models
    workload = Workload.of(built.tag, "parrot:1", KubernetesOptions())
    assert workload.weights == model.size
    (engine,) = workload.replica.engines
    assert engine.outline is not None
    assert engine.outline.size == model.size
    # and by the shape, which the Bento has with it
    assert engine.outline.config["hidden_size"] == model.config["hidden_size"] > 0
    manifest = built.path / "manifest.json"
    said = json.loads(manifest.read_text())
    said["models"][0]["size"] = 0  # as an earlier openllm left it
    manifest.write_text(json.dumps(said))
    with pytest.raises(BuildError, match=rf"does not say how large birds/parrot@{commit} is"):
        Workload.of(built.tag, "parrot:1", KubernetesOptions())


def test_the_version_follows_the_commit(
    home: Path, hub: FakeHub, commit: str, echo_model: Path
) -> None:
    first = reference()
    assert reference().tag == first.tag
    assert reference(revision=commit).tag == first.tag
    other = hub.add("birds/parrot", echo_model)  # without the card
    moved = reference()
    assert moved.tag != first.tag
    assert moved.specs[0].revision == other
    assert reference(revision=commit).tag == first.tag


def test_the_service_fetches_the_commit_when_it_starts(
    home: Path, hub: FakeHub, commit: str, echo_model: Path, tmp_path: Path
) -> None:
    built = reference()
    hub.add("birds/parrot", {"config.json": b"{}"})  # the branch moves on; the Bento does not
    hub.requests.clear()
    environ = hub.environ(tmp_path / "elsewhere")
    target = ["bentoml", "serve", built.tag, "--host", "127.0.0.1"]
    with running(target, tmp_path / "log", **environ) as server:
        server.wait_ready()
        assert [model.id for model in server.openai().models.list()] == ["birds/parrot"]
        assert server.openai().completions.create(
            model="birds/parrot", prompt="hello there", max_tokens=2
        )
    fetched = [path for _, path in hub.requests if path.endswith("model.safetensors")]
    assert fetched
    assert all(commit in path for path in fetched)


def test_adapters_go_in_all_the_same(home: Path, commit: str, tmp_path: Path) -> None:
    adapter = write_echo_adapter(tmp_path / "pirate")
    built = reference(adapters=[f"{adapter}:ahoy"])
    assert [stored.tag.partition(":")[0] for stored in built.models] == ["ahoy"]
    assert inside_sources(built.specs[0]) == (built.models[0].tag,)
    assert [model.kind for model in inspect_bento(built.tag).models] == ["weights", "adapter"]


def test_what_cannot_stay_on_the_hub_is_one_line(
    home: Path, hub: FakeHub, commit: str, echo_model: Path
) -> None:
    config = (echo_model / "config.json").read_bytes()
    hub.add("birds/pickled", {"config.json": config, "pytorch_model.bin": b"x"})
    hub.add(
        "birds/coded",
        {"config.json": b'{"auto_map": {"AutoModel": "x.Y"}}', "model.safetensors": b"x"},
    )
    wrong: list[tuple[str, type[OpenLLMError], str]] = [
        (str(echo_model), ConfigurationError, "is not on the Hub"),
        ("demo", ConfigurationError, "is not on the Hub"),
        ("birds/none", WeightsError, "birds/none"),
        ("birds/pickled", WeightsError, "has no safetensors weights"),
        ("birds/coded", WeightsError, "auto_map"),
    ]
    for model_id, kind, said in wrong:
        with pytest.raises(kind, match=said) as error:
            build(LLMSpec(model_id=model_id, backend="echo"), REFERENCE)
        assert "\n" not in str(error.value)
    assert [path for path in (home / "bentos").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("revision", [None, "main", "0" * 39])
def test_only_a_whole_commit_is_a_reference(revision: str | None) -> None:
    assert inside_sources(LLMSpec(model_id="birds/parrot", revision=revision)) == ("birds/parrot",)
