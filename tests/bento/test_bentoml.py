"""Defects of the installed BentoML that openllm works around: each test fails once upstream has
mended its defect.

The message then says which workaround can go.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

import attrs
import bentoml
import bentoml.container
import pytest
from bentoml.exceptions import BentoMLException
from bentoml.images import Image
from bentoml.models import HuggingFaceModel

from openllm.bento.build import BuildResult, build
from openllm.bento.runner.runner import _restore_runner_defaults
from openllm.config.spec import LLMSpec
from tests.bento.image.conftest import record
from tests.bento.image.engines import install

__all__ = ["record"]
COMMIT = "0" * 40


@pytest.fixture
def built(home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo"))


def test_a_failed_image_build_is_swallowed(
    built: BuildResult, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch, end="exit 125")
    contexts = tmp_path / "contexts"  # whose neighbours the engine copies
    contexts.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(contexts))
    monkeypatch.setattr(
        bentoml.container.get_backend("podman"), "binary", str(record.parent / "bin/podman")
    )
    made = bentoml.container.build(built.tag, backend="podman", image_tag=("x:1",))
    assert made is None, (
        "A failed build is told now: openllm/bento/image/container.py has a reason less."
    )


@pytest.mark.parametrize(
    ("text", "there"),
    [
        ("COPY --chown=bentoml:bentoml . ./", True),  # the service may change its own code
        ("HEALTHCHECK", False),
        ("--no-deps", False),  # brings what the lock leaves out
    ],
)
def test_bentoml_s_own_dockerfile_is_no_choice(built: BuildResult, text: str, there: bool) -> None:
    dockerfile = (built.path / "env/docker/Dockerfile").read_text()
    assert (text in dockerfile) is there, (
        "BentoML's image has changed: templates/Dockerfile.jinja has a reason less."
    )


def test_an_image_given_to_a_service_has_its_first_command_twice_and_no_scripts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "script.sh").write_text("true\n")
    monkeypatch.chdir(tmp_path)
    image = Image(base_image="debian:12").run_script("script.sh")
    again = attrs.evolve(image)  # what `bentoml build` does with it
    assert again.commands.count(image.commands[0]) == 2, (
        "`distro='none'` in openllm/bento/lock/image.py can go."
    )
    assert not again.scripts, "Scripts are kept now: a Bento's own image may use `run_script`."


def test_variables_of_docker_options_do_not_reach_the_image() -> None:
    from _bentoml_sdk.images import populate_image_from_build_config
    from bentoml._internal.bento.build_config import BentoBuildConfig

    config = BentoBuildConfig(
        service="service:svc", docker={"env": {"OPENLLM_PLANTED": "1"}}
    ).with_defaults()
    image = populate_image_from_build_config(Image(base_image="debian:12"), config, ".")
    assert "OPENLLM_PLANTED" not in str(image), "`docker.env` works now: docs/bentos.md may say so."


def test_locking_writes_down_the_index_and_does_not_know_find_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uv reads no PIP_FIND_LINKS, so that BentoML's lock takes torch for CUDA on a machine without
    GPU.
    """
    calls: list[list[str]] = []

    def compile_nothing(command: list[str], **_: Any) -> int:
        calls.append(command)
        (tmp_path / "env/python/requirements.txt").write_text("")
        return 0

    (tmp_path / "src").mkdir()
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setattr("_bentoml_sdk.images.subprocess.check_call", compile_nothing)
    Image(base_image="debian:12").python_packages("attrs")._freeze_python_requirements(tmp_path)
    (command,) = calls
    mended = (
        "`LockedImage._freeze_python_requirements` in openllm/bento/lock/image.py has a reason"
        " less."
    )
    assert "--emit-index-url" in command, mended
    assert str(tmp_path) not in command, mended


def test_a_bento_that_cannot_be_made_is_left_behind(home: Path, tmp_path: Path) -> None:
    from bentoml._internal.bento.build_config import BentoBuildConfig

    (tmp_path / "project").mkdir()
    (tmp_path / "project/service.py").write_text(
        "import bentoml\n\n"
        "class Broken(bentoml.images.Image):\n"
        "    def freeze(self, *args, **kwargs):\n"
        "        raise bentoml.exceptions.BentoMLException('no')\n\n"
        "@bentoml.service(image=Broken(base_image='debian:12'))\n"
        "class Service:\n"
        "    pass\n"
    )
    config = BentoBuildConfig(service="service:Service")
    sys.modules.pop("service", None)
    with pytest.raises(BentoMLException, match="no"):
        bentoml.Bento.create(config, version="1", build_ctx=str(tmp_path / "project"))
    sys.modules.pop("service", None)
    left = [path for path in (home / "tmp").rglob("*") if path.is_file()]
    assert left, (
        "BentoML cleans up now: the change of its temporary store in openllm/bento/build.py can go."
    )


def test_a_reference_to_the_hub_loses_the_case_of_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HuggingFaceModel, "commit_hash", COMMIT)
    info = HuggingFaceModel("Owner/Name", revision=COMMIT).to_info()
    assert info.metadata["model_id"] == "owner/name", (
        "openllm/bento/pack/pinning.py may name Hub models by HuggingFaceModel."
    )


def test_a_reference_to_a_commit_of_the_hub_asks_the_hub_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    class Hub:
        def model_info(self, name: str, revision: str) -> Any:
            asked.append((name, revision))
            return attrs.make_class("Info", {"sha": attrs.field(default=revision)})()

    monkeypatch.setattr(HuggingFaceModel, "_hf_api", Hub())
    HuggingFaceModel("owner/name", revision=COMMIT).to_info()
    assert asked, "openllm/bento/pack/pinning.py may name Hub models by HuggingFaceModel."


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_service_made_of_a_runner_has_methods_that_cannot_be_called() -> None:
    class Runnable(bentoml.legacy.Runnable):  # type: ignore[misc]  # bentoml has no types
        SUPPORTED_RESOURCES = ("cpu",)
        SUPPORTS_CPU_MULTI_THREADING = True

        # bentoml has no types
        @bentoml.legacy.Runnable.method(batchable=False)  # type: ignore[untyped-decorator]
        def echo(self, text: str) -> str:
            return text

    _restore_runner_defaults()
    service = bentoml.runner_service(bentoml.legacy.Runner(Runnable, name="parrot"))
    mended = "bentoml.runner_service works: openllm/bento/compose.py may be made of it."
    assert not hasattr(service.inner().echo, "local"), mended


async def test_a_long_answer_that_does_not_stream_is_cut_off() -> None:
    from bentoml._internal.server.http.traffic import TimeoutMiddleware

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(5)

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await TimeoutMiddleware(slow, 0.01)(
        {"type": "http", "method": "GET", "path": "/", "headers": []}, None, send
    )
    assert sent[0]["status"] == 504, (
        "`LONGEST_ANSWER_SECONDS` in openllm/bento/services/worker.py can go."
    )
