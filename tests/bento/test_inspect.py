"""A Bento looked at from outside: every part is shown, and a change to any is found."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from openllm.bento.build import BuildResult, build
from openllm.bento.inspect import inspect_bento, require_intact, verify_bento
from openllm.bento.lock.requirements import lock_requirements
from openllm.bento.lock.wheel import wheel_name
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError, ServeError
from tests.bento.contents.conftest import built, weights

__all__ = ["built", "weights"]


def test_inspect_shows_every_part(built: BuildResult) -> None:
    found = inspect_bento("parrot:latest")
    assert found.tag == built.tag
    assert found.specs == (built.specs[0].to_dict(),)
    assert [(model.tag, model.kind, model.licence) for model in found.models] == [
        (built.models[0].tag, "weights", "Apache-2.0"),
        (built.models[1].tag, "adapter", None),
    ]
    assert found.packages[:-1] == lock_requirements(["echo"]).pins
    assert found.sizes[built.models[0].tag] > 1024
    assert found.sizes["openllm wheel"] == (built.path / "src/wheels" / wheel_name()).stat().st_size
    assert json.loads(json.dumps(found.to_dict()))["sbom"]["bomFormat"] == "CycloneDX"


def test_an_untouched_bento_is_verified(built: BuildResult) -> None:
    found = verify_bento(built.tag)
    assert found.problems == ()
    assert found.checked > 10
    assert verify_bento(str(built.path)).problems == ()


@pytest.mark.parametrize(
    "name", ["src/service.py", "bento.yaml", "env/python/requirements.txt", "sbom.cdx.json"]
)
def test_a_changed_file_is_named(built: BuildResult, name: str) -> None:
    with (built.path / name).open("a") as file:
        file.write("\n")
    assert verify_bento(built.tag).problems == (f"{name} was changed.",)


def test_missing_and_added_files_are_named(built: BuildResult) -> None:
    (built.path / "README.md").unlink()
    (built.path / "src/extra.py").write_text("")
    (built.path / "src/link.py").symlink_to("nowhere")
    assert verify_bento(built.tag).problems == (
        "README.md is missing.",
        "src/extra.py was added.",
        "src/link.py was added.",
    )


def test_changed_weights_are_named(built: BuildResult) -> None:
    path = built.models[0].path / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.unlink()  # it may be a link to where the weights came from
    path.write_bytes(bytes(data))
    assert verify_bento(built.tag).problems == (
        f"{built.models[0].tag}/model.safetensors was changed.",
    )


@pytest.mark.parametrize("linked", [False, True])
def test_models_beside_a_stored_bento_do_not_stand_in_for_the_stores(
    built: BuildResult, tmp_path: Path, linked: bool
) -> None:
    """`openllm start TAG` loads those of the store, wherever the Bento's directory leads."""
    if linked:
        shutil.move(built.path, tmp_path / "moved")
        built.path.symlink_to(tmp_path / "moved", target_is_directory=True)
    for stored in built.models:
        name, _, version = stored.tag.partition(":")
        shutil.copytree(stored.path, built.path / "models" / name / version)
        (built.path / "models" / name / "latest").write_text(version)
    config = built.models[0].path / "config.json"
    text = config.read_text()
    config.unlink()
    config.write_text(f"{text} ")
    for target in (built.tag, str(built.path)):
        found = verify_bento(target).problems
        assert "models was added." in found
        assert f"{built.models[0].tag}/config.json was changed." in found
    with pytest.raises(BuildError, match="is not as it was built"):
        require_intact(built.path)


def test_a_stored_bento_with_models_of_its_own_is_built_again(home: Path, echo_model: Path) -> None:
    spec = LLMSpec(model_id=str(echo_model), backend="echo")
    path = build(spec).path
    (path / "models").mkdir()
    assert verify_bento(str(path)).problems == ("models was added.",)
    assert build(spec).path == path
    assert verify_bento(str(path)).problems == ()


def test_missing_weights_are_named(built: BuildResult) -> None:
    shutil.rmtree(built.models[0].path)
    assert verify_bento(built.tag).problems == (
        f"{built.models[0].tag} is not in the model store.",
    )


@pytest.mark.parametrize("tag", ["nothing:1", "no tag at all", "../x:1"])
def test_no_such_bento_is_one_line(home: Path, tag: str) -> None:
    for look in (inspect_bento, verify_bento):
        with pytest.raises(ServeError, match="There is no Bento") as error:
            look(tag)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "text", [None, "{", "[]", '{"files": {}}', '{"files": {}, "models": [{}]}']
)
def test_a_manifest_that_is_none_is_one_line(built: BuildResult, text: str | None) -> None:
    path = built.path / "manifest.json"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(BuildError, match=r"manifest\.json") as error:
        verify_bento(built.tag)
    assert "\n" not in str(error.value)
