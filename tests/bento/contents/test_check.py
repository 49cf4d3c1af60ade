"""The check of a Bento: whatever is not as it was built is found, and nothing of it is run."""

from __future__ import annotations

import importlib.util
import json
import os
import py_compile
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from openllm.bento.build import BuildResult, build
from openllm.bento.contents.check import check_bento
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from openllm.weights.checkpoint import file_digest
from tests.bento.conftest import bentoml_home
from tests.bento.models import write_echo_adapter, write_echo_weights


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BuildResult]:
    """A Bento of a model and an adapter, in a store that only this module uses."""
    folder = tmp_path_factory.mktemp("check")
    with pytest.MonkeyPatch.context() as patch, bentoml_home(folder / "bentoml", patch):
        weights = write_echo_weights(folder / "parrot")
        adapter = write_echo_adapter(folder / "pirate")
        yield build(LLMSpec(model_id=str(weights), backend="echo", adapters=[f"{adapter}:ahoy"]))


@pytest.fixture
def bento(built: BuildResult, tmp_path: Path) -> Path:
    """The same as it lies in an image: with its models, and nothing beside it."""
    place = tmp_path / "bento"
    shutil.copytree(built.path, place)
    for stored in built.models:
        name, _, version = stored.tag.partition(":")
        shutil.copytree(stored.path, place / "models" / name / version)
        (place / "models" / name / "latest").write_text(version)
    (place / "hf-models").mkdir()
    return place


def nowhere(tag: str) -> None:
    """The store of a machine that has no models."""
    return


def problems(bento: Path) -> tuple[str, ...]:
    return check_bento(bento, nowhere).problems


def edit_manifest(bento: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = bento / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")


def model_of(bento: Path, built: BuildResult, at: int = 0) -> Path:
    return bento / "models" / built.models[at].tag.replace(":", "/")


def test_what_nobody_touched_is_as_it_was_built(bento: Path, built: BuildResult) -> None:
    found = check_bento(bento, nowhere)
    assert (found.tag, found.problems) == (built.tag, ())
    (model_of(bento, built) / "model.safetensors").chmod(0o600)  # as its source may be
    assert problems(bento) == ()


def test_code_that_python_would_run_instead_of_the_service_is_found(
    bento: Path, tmp_path: Path
) -> None:
    """An unchecked cache is never compared with its source."""
    evil = tmp_path / "service.py"
    evil.write_text("raise SystemExit('somebody else')")
    cache = Path(importlib.util.cache_from_source(str(bento / "src/service.py")))
    py_compile.compile(
        str(evil), str(cache), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    assert problems(bento) == (
        "src/__pycache__ was added.",
        f"src/__pycache__/{cache.name} was added.",
    )


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("src/manifest.json", "src/manifest.json was added."),
        ("src/model.sig", "src/model.sig was added."),
        (".hidden", ".hidden was added."),
        ("hf-models/x", "hf-models/x was added."),
        ("models/parrot/other/config.json", "models/parrot/other was added."),
        ("MODEL/__pycache__/modeling.pyc", "MODEL/__pycache__ was added."),
        ("MODEL/.hidden", "MODEL/.hidden was added."),
        ("MODEL/pytorch_model.bin", "MODEL/pytorch_model.bin was added."),
    ],
)
def test_what_was_added_anywhere_is_found(
    bento: Path, built: BuildResult, place: str, said: str
) -> None:
    path = bento / place.replace("MODEL", str(model_of(bento, built)))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    assert said.replace("MODEL", built.models[0].tag) in problems(bento)


@pytest.mark.parametrize(
    ("name", "mode", "said"),
    [
        ("src/service.py", 0o755, "has the mode rwxr-xr-x, and had rw-r--r--."),
        ("src/service.py", 0o600, "has the mode rw-------, and had rw-r--r--."),
        ("src", 0o777, "has the mode rwxrwxrwx, and had rwxr-xr-x."),
        ("MODEL/config.json", 0o666, "has the mode rw-rw-rw-, and had rw-r--r--."),
        ("MODEL/config.json", 0o4755, "has the mode rwsr-xr-x, and had rw-r--r--."),
    ],
)
def test_another_mode_is_found(
    bento: Path, built: BuildResult, name: str, mode: int, said: str
) -> None:
    (bento / name.replace("MODEL", str(model_of(bento, built)))).chmod(mode)
    assert problems(bento) == (f"{name.replace('MODEL', built.models[0].tag)} {said}",)


def test_links_are_found_and_not_followed(bento: Path, built: BuildResult, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    shutil.copytree(bento / "apis", outside)
    shutil.copy(bento / "src/service.py", outside / "service.py")
    (bento / "src/service.py").unlink()
    (bento / "src/service.py").symlink_to(outside / "service.py")  # of the same content
    shutil.rmtree(bento / "apis")
    (bento / "apis").symlink_to(outside, target_is_directory=True)
    config = model_of(bento, built) / "config.json"
    shutil.copy(config, outside / "config.json")
    config.unlink()
    config.symlink_to(outside / "config.json")
    (bento / "src/loop").symlink_to("loop")
    (bento / "src/folder").symlink_to("..", target_is_directory=True)
    assert set(problems(bento)) == {
        "src/service.py is a link now, and was a file.",
        "apis is a link now, and was a directory.",
        "apis/openapi.yaml is missing.",
        "apis/schema.json is missing.",
        "src/loop was added.",
        "src/folder was added.",
        f"{built.models[0].tag}/config.json is a link now, and was a file.",
    }


def test_links_in_place_of_models_and_manifest_are_found(bento: Path, tmp_path: Path) -> None:
    (bento / "manifest.json").rename(tmp_path / "manifest.json")
    (bento / "manifest.json").symlink_to(tmp_path / "manifest.json")
    (bento / "models").rename(tmp_path / "models")
    (bento / "models").symlink_to(tmp_path / "models", target_is_directory=True)
    assert problems(bento) == ("manifest.json is no file.", "models is no directory.")


@pytest.mark.parametrize("linked", [False, True])
def test_what_is_called_as_bentomls_empty_directory_and_is_none_is_found(
    bento: Path, tmp_path: Path, linked: bool
) -> None:
    place = bento / "hf-models"
    place.rmdir()
    if linked:
        place.symlink_to(tmp_path, target_is_directory=True)
    else:
        place.write_text("x")
    assert problems(bento) == ("hf-models was added.",)


def test_what_is_no_file_is_not_opened(bento: Path) -> None:
    os.mkfifo(bento / "src/pipe")
    assert problems(bento) == ("src/pipe was added.",)


@pytest.mark.parametrize("name", ["src/service.py", "bento.yaml", "env/docker/Dockerfile"])
def test_a_change_with_its_line_in_the_manifest_is_found(
    bento: Path, built: BuildResult, name: str
) -> None:
    """The tag is a digest of all of it."""
    path = bento / name
    path.write_text(path.read_text() + "\n# one more line\n")
    edit_manifest(bento, lambda data: data["listing"]["files"].update({name: file_digest(path)}))
    (said,) = problems(bento)
    assert f"this content is not what {built.tag} was named after" in said


def test_changed_weights_with_their_lines_are_found(bento: Path, built: BuildResult) -> None:
    path = model_of(bento, built) / "config.json"
    path.write_text("{}")

    def change(data: dict[str, Any]) -> None:
        data["models"][0]["files"]["config.json"] = file_digest(path)
        data["models"][0]["listing"]["files"]["config.json"] = file_digest(path)

    edit_manifest(bento, change)
    (said,) = problems(bento)
    assert said.startswith(f"{built.models[0].tag} is not named after its files")


def test_a_changed_model_yaml_is_found_but_for_when_it_was_written(
    bento: Path, built: BuildResult
) -> None:
    path = model_of(bento, built) / "model.yaml"
    text = path.read_text()
    data = yaml.safe_load(text)
    path.write_text(text.replace(data["creation_time"], "2020-01-01T00:00:00+00:00"))
    assert problems(bento) == ()
    for changed in (f"{text}# a note\n", text.replace("framework: openllm", "framework: other")):
        path.write_text(changed)
        assert problems(bento) == (f"{built.models[0].tag}/model.yaml was changed.",)


def test_models_that_the_manifest_leaves_out_are_found(bento: Path, built: BuildResult) -> None:
    weights, adapter = (stored.tag for stored in built.models)
    edit_manifest(bento, lambda data: data.update(models=[]))
    assert f"{weights} is in the Bento, and manifest.json does not have it." in problems(bento)
    assert f"{adapter} is in the Bento, and manifest.json does not have it." in problems(bento)


def test_a_model_that_is_said_to_be_elsewhere_is_found(bento: Path, built: BuildResult) -> None:
    tag = built.models[0].tag
    edit_manifest(bento, lambda data: data["models"][0].update(inside=False))
    found = problems(bento)
    assert f"{tag} is in the Bento, and manifest.json does not have it." in found
    assert (
        f"{tag} is fetched at start as manifest.json has it, and not as spec.json has it." in found
    )


@pytest.mark.parametrize(
    "change",
    [
        {"listing": []},
        {"listing": {"files": {"a": 1}}},
        {"models": 1},
        {"models": [{"tag": 1}]},
        {"format": 1},
        {"format": 3},
        {"other": 1},
    ],
)
def test_a_manifest_of_another_shape_is_one_line(bento: Path, change: dict[str, Any]) -> None:
    edit_manifest(bento, lambda data: data.update(change))
    with pytest.raises(BuildError, match=r"manifest\.json") as error:
        check_bento(bento, nowhere)
    assert "\n" not in str(error.value)


def test_a_bento_under_another_tag_is_found(bento: Path, built: BuildResult) -> None:
    found = check_bento(bento, nowhere, "parrot:0123456789abcdef").problems
    assert found == (f"bento.yaml says that this is {built.tag}.",)


def test_a_model_that_is_nowhere_is_named(bento: Path, built: BuildResult) -> None:
    shutil.rmtree(bento / "models")
    assert problems(bento) == tuple(
        f"{stored.tag} is not in the model store." for stored in built.models
    )
