"""openllm build: one Bento per input, complete, locked, and free of the builder's machine."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import attrs
import bentoml
import pytest
import yaml

from openllm.backends.vllm import usable
from openllm.backends.vllm.usable import Installation
from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.inspect import verify_bento
from openllm.bento.lock import wheel
from openllm.bento.lock.requirements import Lock, lock_requirements
from openllm.bento.lock.wheel import wheel_name
from openllm.bento.pack.render import render_readme, render_service
from openllm.bento.pack.resources import Resources
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ConfigurationError, OpenLLMError, WeightsError
from tests.bento.models import write_echo_adapter, write_echo_weights

ROOT = Path(__file__).parents[2]


def parrot(path: Path, **fields: Any) -> LLMSpec:
    return LLMSpec(model_id=str(path), backend="echo", **fields)


def snapshot(home: Path) -> dict[str, int]:
    """Every file of the stores, and when it was last written."""
    files = [
        path
        for part in ("bentos", "models", "tmp")
        for path in (home / part).rglob("*")
        if path.is_file()
    ]
    return {str(path.relative_to(home)): path.stat().st_mtime_ns for path in files}


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    return build(parrot(echo_model, max_model_len=128))


def test_bentoml_has_it(built: BuildResult) -> None:
    bento = bentoml.bentos.get(built.tag)
    assert Path(bento.path) == built.path
    assert str(bentoml.bentos.get("parrot:latest").tag) == built.tag
    assert [str(item.tag) for item in bentoml.bentos.list()] == [built.tag]
    assert [str(model.tag) for model in bento.info.all_models] == [built.models[0].tag]
    assert bento.info.labels["openai_endpoint"] == "/v1"
    assert built.new


def test_it_has_service_spec_and_readme(built: BuildResult) -> None:
    source = built.path / "src"
    assert (source / "service.py").read_text() == render_service("parrot")
    assert json.loads((source / "spec.json").read_text()) == {
        "model_id": built.models[0].tag,
        "name": "parrot",
        "backend": "echo",
        "family": "llama",
        "max_model_len": 128,
    }
    assert (built.path / "README.md").read_text() == render_readme("parrot", built.specs)


def test_it_is_locked_and_carries_our_wheel(built: BuildResult) -> None:
    lines = (built.path / "env/python/requirements.txt").read_text().splitlines()
    assert lines == [*lock_requirements(["echo"]).lines(), f"./wheels/{wheel_name()}"]
    assert (built.path / "src/wheels" / wheel_name()).is_file()
    image = yaml.safe_load((built.path / "bento.yaml").read_text())["image"]
    assert image["build_include"] == ["wheels"]
    dockerfile = (built.path / "env/docker/Dockerfile").read_text()
    assert "COPY --chown=bentoml:bentoml ./src/wheels ./src/wheels" in dockerfile
    assert "apt-get" not in dockerfile


def test_the_second_build_writes_nothing_and_prints_the_same_tag(
    built: BuildResult, home: Path, echo_model: Path
) -> None:
    before = snapshot(home)
    again = build(parrot(echo_model, max_model_len=128))
    assert again.tag == built.tag
    assert not again.new
    assert again.size == built.size
    assert snapshot(home) == before


def test_the_same_input_from_another_place_gives_the_same_tag(
    built: BuildResult, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "other" / "parrot"
    shutil.copytree(built.models[0].path, elsewhere)
    assert build(parrot(elsewhere, max_model_len=128)).tag == built.tag
    assert (
        build(LLMSpec(model_id=built.models[0].tag, backend="echo", max_model_len=128)).tag
        == built.tag
    )
    assert (
        build(LLMSpec(model_id="parrot:latest", backend="echo", max_model_len=128)).tag == built.tag
    )


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"max_model_len": 64}, BuildOptions()),
        ({"max_model_len": 128, "sampling": {"temperature": 0.5}}, BuildOptions()),
        ({"max_model_len": 128}, BuildOptions(labels={"team": "birds"})),
    ],
)
def test_another_input_gives_another_version_of_the_same_weights(
    built: BuildResult, echo_model: Path, fields: dict[str, Any], options: BuildOptions
) -> None:
    other = build(parrot(echo_model, **fields), options)
    assert other.tag.partition(":")[0] == "parrot"
    assert other.tag != built.tag
    assert other.models[0].tag == built.models[0].tag
    assert not other.models[0].new
    bills = [json.loads((item.path / "sbom.cdx.json").read_text()) for item in (built, other)]
    assert bills[0]["serialNumber"] != bills[1]["serialNumber"]


@pytest.mark.parametrize("damage", ["changed", "added", "manifest", "weights"])
def test_what_is_damaged_in_the_store_is_built_again(
    built: BuildResult, echo_model: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    weights = built.models[0].path
    if damage == "changed":
        (built.path / "src/service.py").write_text("svc = None\n")
    elif damage == "added":
        (built.path / "src/__pycache__").mkdir()
        (built.path / "src/__pycache__/service.cpython-311.pyc").write_bytes(b"x")
    elif damage == "manifest":
        (built.path / "manifest.json").write_text("{")
    else:
        (weights / "config.json").write_text("{}")
    assert verify_damage(built.tag)
    again = build(parrot(echo_model, max_model_len=128))
    assert (again.tag, again.new) == (built.tag, damage != "weights")
    assert again.models[0].new is (damage == "weights")
    assert verify_damage(built.tag) == ()
    assert damage == "manifest" or "damaged" in caplog.text or "built again" in caplog.text


def verify_damage(tag: str) -> tuple[str, ...]:
    try:
        return verify_bento(tag).problems
    except BuildError as error:
        return (str(error),)


def test_other_sources_of_openllm_give_another_version(
    built: BuildResult, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = dict(wheel._contents())
    monkeypatch.setattr(wheel, "_contents", lambda: [*before.items(), ("openllm/x.py", b"1")])
    assert build(parrot(echo_model, max_model_len=128)).tag != built.tag


def test_nothing_names_the_builder_s_directories(
    built: BuildResult, echo_model: Path, tmp_path: Path
) -> None:
    for path in built.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert str(echo_model).encode() not in data, path
            assert str(tmp_path).encode() not in data, path
            assert b"openllm-run-" not in data, path


def test_a_secret_of_the_environment_stops_the_build(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_planted_secret")
    monkeypatch.setenv("UV_INDEX_URL", "https://planted:pw@index.example/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://planted:pw@index.example/simple")
    clean = build(parrot(echo_model))
    planted = [
        path for path in clean.path.rglob("*") if path.is_file() and b"planted" in path.read_bytes()
    ]
    assert planted == []
    with pytest.raises(BuildError, match=r"the value of HF_TOKEN in src/spec\.json") as error:
        build(parrot(echo_model, sampling={"stop": ["hf_planted_secret"]}))
    assert "hf_planted_secret" not in str(error.value)
    assert len(bentoml.bentos.list()) == 1
    assert list((home / "tmp").iterdir()) == []


@pytest.mark.parametrize("name", ["a\nb", "$(touch x)", "{{ 7 * 7 }}", "a;b", "A", "../x"])
def test_a_name_that_is_none_is_refused(home: Path, echo_model: Path, name: str) -> None:
    with pytest.raises(BuildError) as error:
        build(parrot(echo_model), BuildOptions(name=name))
    assert "\n" not in str(error.value)
    assert bentoml.bentos.list() == []


def test_a_bento_may_be_called_otherwise_than_its_model(home: Path, echo_model: Path) -> None:
    result = build(parrot(echo_model, name="Polly"), BuildOptions(name="aviary-1.0"))
    assert result.tag.startswith("aviary-1.0:")
    assert result.specs[0].served_name == "Polly"
    assert result.models[0].tag.startswith("parrot:")


def test_two_models_in_one_bento(home: Path, echo_model: Path, tmp_path: Path) -> None:
    other = write_echo_weights(tmp_path / "owl")
    result = build([parrot(echo_model), parrot(other, task="embed")], BuildOptions(name="aviary"))
    document = json.loads((result.path / "src/spec.json").read_text())
    assert [spec["name"] for spec in document["llms"]] == ["parrot", "owl"]
    assert [str(model.tag) for model in bentoml.bentos.get(result.tag).info.all_models] == [
        stored.tag for stored in result.models
    ]


def test_adapters_and_a_draft_model_go_in_the_same_way(
    home: Path, echo_model: Path, tmp_path: Path
) -> None:
    adapter, draft = (
        write_echo_adapter(tmp_path / "pirate"),
        write_echo_weights(tmp_path / "sparrow"),
    )
    result = build(parrot(echo_model, adapters=[f"{adapter}:ahoy"], speculative_model=str(draft)))
    weights, small, lora = (stored.tag for stored in result.models)
    (spec,) = result.specs
    assert (spec.model_id, spec.speculative_model) == (weights, small)
    assert [(item.name, item.source) for item in spec.adapters] == [("ahoy", lora)]
    assert small.startswith("sparrow:")
    assert bentoml.models.get(lora).info.metadata["kind"] == "lora"
    assert [str(model.tag) for model in bentoml.bentos.get(result.tag).info.all_models] == [
        weights,
        small,
        lora,
    ]
    again = build(
        LLMSpec(
            model_id=weights, speculative_model=small, adapters=["ahoy:latest:ahoy"], backend="echo"
        )
    )
    assert again.tag == result.tag


def test_an_adapter_that_does_not_fit_leaves_nothing(
    home: Path, echo_model: Path, tmp_path: Path
) -> None:
    adapter = write_echo_adapter(tmp_path / "pirate")
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(WeightsError) as error:
        build(parrot(echo_model, adapters=[str(adapter)]))
    assert "\n" not in str(error.value)
    assert snapshot(home) == {}


def test_what_is_wrong_with_a_model_is_one_line_and_leaves_nothing(
    home: Path, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong: list[tuple[LLMSpec, type[OpenLLMError]]] = [
        (parrot(tmp_path / "missing"), WeightsError),
        (parrot(empty), WeightsError),
        (LLMSpec(model_id="parrot:0123456789", backend="echo"), WeightsError),
        (LLMSpec(model_id="what is this?", backend="echo"), ConfigurationError),
    ]
    for spec, kind in wrong:
        with pytest.raises(kind) as error:
            build(spec)
        assert "\n" not in str(error.value)
    assert snapshot(home) == {}


def test_two_models_of_one_name_are_refused(home: Path, echo_model: Path) -> None:
    with pytest.raises(ConfigurationError, match="Two models are called"):
        build([parrot(echo_model), parrot(echo_model)])
    assert snapshot(home) == {}


def test_a_disk_that_fills_up_leaves_no_bento(
    home: Path, echo_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("openllm.bento.lock.image.write_wheel", full)
    with pytest.raises(BuildError, match="the disk is full"):
        build(parrot(echo_model))
    assert bentoml.bentos.list() == []
    assert list((home / "tmp").iterdir()) == []


def test_bentoml_s_own_build_gives_the_same_contents(
    home: Path, echo_model: Path, tmp_path: Path
) -> None:
    """`bentoml build` on a service.py of ours stores the weights and locks exactly as `openllm
    build` does.
    """
    project = tmp_path / "project"
    project.mkdir()
    (project / "service.py").write_text(render_service("parrot"))
    spec = attrs.evolve(parrot(echo_model), name="parrot", family="llama")
    (project / "spec.json").write_text(json.dumps(spec.to_dict()))
    bento = bentoml.bentos.build(
        "service:svc", name="parrot", include=["*.py", "*.json"], build_ctx=str(project)
    )
    ours = build(spec)
    for name in (
        "env/python/requirements.txt",
        f"src/wheels/{wheel_name()}",
        "src/service.py",
        "README.md",
    ):
        assert (Path(bento.path) / name).read_bytes() == (ours.path / name).read_bytes()
    assert [str(model.tag) for model in bento.info.all_models] == [
        stored.tag for stored in ours.models
    ]


def test_bentoml_build_at_the_root_packs_the_demo(home: Path) -> None:
    bento = bentoml.bentos.build_bentofile(str(ROOT / "bentofile.yaml"), build_ctx=str(ROOT))
    source = Path(bento.path) / "src"
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert files == {"service.py", "bentos/demo.yaml", "bentofile.yaml", f"wheels/{wheel_name()}"}
    ours = build(LLMSpec(model_id="demo", backend="pytorch"))
    assert bento.tag.name == ours.tag.partition(":")[0] == "demo"
    assert [str(model.tag) for model in bento.info.all_models] == [
        stored.tag for stored in ours.models
    ]
    locked = "env/python/requirements.txt"
    assert (Path(bento.path) / locked).read_bytes() == (ours.path / locked).read_bytes()


def test_a_vllm_without_gpus_is_not_locked_for_machines_with_some(
    echo_model: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would ask for a GPU, and on that machine refuse to run."""
    monkeypatch.setattr(usable, "find_installation", lambda: Installation("0.32.0", "cpu"))
    spec = LLMSpec(model_id=str(echo_model), backend="vllm")
    with pytest.raises(BuildError, match=r"asks for 2 GPU\(s\).*built for the CPU"):
        build(spec, BuildOptions(resources=Resources(gpu=2)))
    assert not bentoml.models.list()


@pytest.mark.parametrize(("platform", "gpu"), [("cuda", 2), ("cpu", None)])
def test_a_bento_for_vllm_needs_no_gpu_where_it_is_built(
    platform: str, gpu: int | None, echo_model: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usable, "find_installation", lambda: Installation("0.32.0", platform))
    pins = ("vllm==0.32.0",)  # it is not installed in every environment that runs this
    monkeypatch.setattr(
        "openllm.bento.lock.image.lock_requirements", lambda *needed: Lock(pins, ())
    )
    spec = LLMSpec(model_id=str(echo_model), backend="vllm")
    result = build(spec, BuildOptions(resources=Resources(gpu=gpu)))
    assert result.specs[0].backend == "vllm"
