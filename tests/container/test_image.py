"""An image as an operator runs it: read-only, without rights, with the variables of the
environment, and stopped.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.image.container import containerize
from openllm.bento.image.dockerfile import BENTO, USER, ContainerOptions
from openllm.bento.image.size import ImageSize
from openllm.bento.pack.files import LINK_FROM
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from tests.bento.models import write_echo_adapter, write_echo_weights
from tests.container.conftest import BASE, Container

pytestmark = [pytest.mark.container, pytest.mark.timeout(1500)]
READY_SECONDS = 180.0
LARGEST_RATIO = 1.3  # of the image to its base and the locked packages
NAME = "localhost/openllm-test:1"
ANOTHER = "localhost/openllm-test:2"
DEMO = "localhost/openllm-demo:1"
# Finds what a service needs none of: means to install, perl, programs with rights, tests.
UNWANTED = (
    "find / -xdev \\( -name pip -o -name 'pip-*' -o -name ensurepip -o -name perl -o -name"
    " tests \\) -print -o -type f -perm /6000 -print 2>/dev/null"
)
ANSWER: dict[str, object] = {
    "type": "object",
    "properties": {"yes": {"type": "boolean"}},
    "required": ["yes"],
    "additionalProperties": False,
}


@pytest.fixture
def bento(home: Path, tmp_path: Path) -> Iterator[BuildResult]:
    """Of weights that only their owner may read, by somebody whose files nobody else may."""
    before = os.umask(0o077)
    yield build_parrot(tmp_path, "parrot")
    os.umask(before)


def build_parrot(folder: Path, name: str) -> BuildResult:
    model = write_echo_weights(folder / name)
    (model / "large.txt").write_text(name * LINK_FROM)
    adapter = write_echo_adapter(folder / f"{name}-pirate")
    for path in (*model.iterdir(), *adapter.iterdir()):
        path.chmod(0o600)
    spec = LLMSpec(model_id=str(model), backend="echo", adapters=[f"{adapter}:ahoy"])
    return build(spec, BuildOptions(hashes=True))


def wait_ready(container: Container) -> None:
    end = time.monotonic() + READY_SECONDS
    while True:
        try:
            if httpx.get(f"{container.url}/readyz", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            assert container.state()["Running"], container.logs()
        assert time.monotonic() < end, container.logs()
        time.sleep(0.5)


def test_an_image_is_built_and_run(
    bento: BuildResult, configuration: Path, start: Any, tmp_path: Path
) -> None:
    options = ContainerOptions(name=NAME, engine="buildah", base_image=BASE)
    made = containerize(bento.tag, options)
    assert made.name == NAME
    container = start(NAME, OPENLLM_MAX_MODEL_LEN="77", OPENLLM_API_KEY="sk-test-key")
    wait_ready(container)
    idle, begun = http.client.HTTPConnection("127.0.0.1", container.port), time.monotonic()
    assert status(idle) == 200

    client = openai.OpenAI(base_url=f"{container.url}/v1", api_key="sk-test-key", max_retries=0)
    models = {model.id: model for model in client.models.list()}
    assert set(models) == {"parrot", "ahoy"}
    assert models["parrot"].max_model_len == 77  # type: ignore[attr-defined]  # a field of ours
    assert (
        client.completions.create(model="ahoy", prompt="hello there", max_tokens=2).choices[0].text
    )
    assert httpx.get(f"{container.url}/v1/models").status_code == 401

    assert container.execute("id", "-u").stdout.strip() == str(USER)
    owned = container.execute("find", BENTO, "/app", "-not", "-user", "0", "-print", "-quit")
    assert (owned.returncode, owned.stdout) == (0, "")
    writable = container.execute(
        "find", BENTO, "/app", "-writable", "-not", "-type", "l", "-print", "-quit"
    )
    assert writable.stdout == ""
    check_compiled(container)
    assert container.execute("sh", "-c", UNWANTED).stdout == ""
    health = container.podman("healthcheck", "run", container.name)
    assert health.returncode == 0, health.stdout + health.stderr

    assert time.monotonic() - begun > 5  # after which BentoML's workers close what is idle
    connected = idle.sock
    assert status(idle) == 200
    assert idle.sock is connected

    stop(container)
    check_size(made.size)
    check_another(tmp_path, start)


def check_another(folder: Path, start: Any) -> None:
    """An image of another model has the layers of the first but for its own, and serves whoever
    runs it: a user that it does not know, as OpenShift has them.
    """
    containerize(
        build_parrot(folder, "heron").tag,
        ContainerOptions(name=ANOTHER, engine="buildah", base_image=BASE),
    )
    first, second = layers(NAME), layers(ANOTHER)
    shared = [one for one, other in zip(first, second, strict=True) if one == other]
    # base, what was made of it, packages, openllm, and nothing from trying it; then the adapter
    assert first[: len(shared)] == shared
    assert len(shared) == len(first) - 2
    container = start(ANOTHER, user="1000660000:0")
    wait_ready(container)
    assert container.execute("id", "-u").stdout.strip() == "1000660000"
    named = container.execute("python", "-c", "import getpass; print(getpass.getuser())")
    assert named.stdout.strip() == "bentoml", named.stderr
    stop(container)


def layers(image: str) -> list[str]:
    """The digests of its layers, the base's first."""
    done = subprocess.run(["podman", "inspect", image], capture_output=True, check=True)
    found: list[str] = json.loads(done.stdout)[0]["RootFS"]["Layers"]
    return found


def status(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", "/livez")
    answer = connection.getresponse()
    answer.read()
    return answer.status


def stop(container: Container) -> None:
    stopped = container.podman("stop", "--time", "60", container.name)
    assert stopped.returncode == 0, stopped.stderr
    assert container.state()["ExitCode"] == 0, container.logs()


def test_the_demo_on_pytorch(home: Path, configuration: Path, start: Any) -> None:
    """It has what structured output needs, though not all that xgrammar names."""
    demo = build(LLMSpec(model_id="demo", backend="pytorch"))
    made = containerize(demo.tag, ContainerOptions(name=DEMO, engine="buildah", base_image=BASE))
    check_size(made.size)
    container = start(DEMO)
    wait_ready(container)
    client = openai.OpenAI(base_url=f"{container.url}/v1", api_key="unused", max_retries=0)
    answer = client.chat.completions.create(
        model="demo",
        messages=[{"role": "user", "content": "Is it so?"}],
        max_tokens=60,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": ANSWER},
        },
    )
    assert isinstance(json.loads(answer.choices[0].message.content or "")["yes"], bool)
    stop(container)


def check_compiled(container: Container) -> None:
    """Nothing is compiled when it starts, which it could not keep: neither the packages nor
    Python's own library.
    """
    done = container.execute(
        "/app/.venv/bin/python",
        "-v",
        "-c",
        "import bentoml, openllm.bento.services.llm, transformers",
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "/app/.venv/lib" in done.stderr
    assert [line for line in done.stderr.splitlines() if "bytecode is stale" in line] == []
    sources = [
        line
        for line in done.stderr.splitlines()
        if line.startswith("# code object from ") and "__pycache__" not in line
    ]
    assert [line for line in sources if "frozen" not in line] == []


def check_size(size: ImageSize | None) -> None:
    assert size is not None
    print(
        "\n" + ", ".join(f"{part.strip()} {count:,}" for part, count in size.rows()),
        f"ratio {size.ratio:.2f}",
    )
    assert size.ratio <= LARGEST_RATIO
    assert 0 <= size.rest <= 0.1 * size.total


def test_a_base_image_that_does_not_exist_is_one_line(
    bento: BuildResult, configuration: Path
) -> None:
    for engine in ("buildah", "podman"):
        options = ContainerOptions(
            name="localhost/openllm-none:1", engine=engine, base_image="localhost/no/base:1"
        )
        with pytest.raises(
            BuildError, match=rf"{engine} could not build localhost/openllm-none:1: "
        ) as error:
            containerize(bento.tag, options)
        assert "\n" not in str(error.value)
        found = subprocess.run(["podman", "image", "exists", "localhost/openllm-none:1"])
        assert found.returncode == 1
