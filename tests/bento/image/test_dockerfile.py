"""The Dockerfile that is rendered, and what is refused a place in it."""

from __future__ import annotations

import pytest

from openllm.bento.image.dockerfile import (
    ContainerOptions,
    Contents,
    read_part,
    render_dockerfile,
)
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError

EVIL = ["a\nRUN reboot", "$(touch x)", "{{ 7 * 7 }}", "a;b", "a b", "-v", "", "`x`", "a\0"]
ECHO = Contents("parrot:1", (LLMSpec(model_id="parrot:1", backend="echo"),), ("a/1", "b/2"))


def steps(text: str, instruction: str) -> list[str]:
    """The arguments of every `instruction`, continued lines joined."""
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()[1:]) for line in lines if line.split()[:1] == [instruction]]


def test_packages_are_installed_in_a_stage_of_their_own() -> None:
    text = render_dockerfile(ECHO, ContainerOptions())
    _, packages, ours, final = text.split("\nFROM ")
    assert final.startswith("python:3.")
    assert "-m pip install --no-deps -r packages.txt" in packages
    assert "python completion.py packages.txt" in packages
    assert "-m pip install" in ours
    assert "--no-index" in ours  # and so without the secret
    assert "pip install" not in final
    assert "apt-get" not in text
    (secret,) = (line for line in text.splitlines() if "--mount=type=secret" in line)
    assert secret.startswith("RUN --mount=type=secret,id=pip ")
    assert steps(text, "ARG") == []


def test_layers_come_by_how_often_they_change() -> None:
    final = render_dockerfile(ECHO, ContainerOptions()).split("\nFROM ")[-1]
    assert steps(final, "COPY") == [
        "--from=packages /app/.venv /app/.venv",
        "--from=openllm /stage /app/.venv",
        "./models/a/1 /home/bentoml/bento/models/a/1",
        "./models/b/2 /home/bentoml/bento/models/b/2",
        "./bento /home/bentoml/bento",
    ]
    # what a new version of the Bento changes in the text comes last
    assert final.index("parrot:1") > final.index("COPY ./bento")


def test_the_service_cannot_change_its_code() -> None:
    text = render_dockerfile(ECHO, ContainerOptions())
    assert steps(text, "USER") == ["1034:1034"]
    assert "chown" not in text  # whatever is copied is root's
    assert any("PYTHONSAFEPATH=1" in line.split() for line in steps(text, "ENV"))


def test_labels_say_what_it_is_and_when() -> None:
    base = f"python:3.11-slim@sha256:{'0' * 64}"
    (labels,) = steps(render_dockerfile(ECHO, ContainerOptions(base_image=base)), "LABEL")
    found = dict(part.split("=", 1) for part in labels.split())
    assert found["org.opencontainers.image.title"] == '"parrot"'
    assert found["org.opencontainers.image.created"] == '"1970-01-01T00:00:00Z"'
    assert found["org.opencontainers.image.base.digest"] == f'"sha256:{"0" * 64}"'
    assert found["dev.openllm.bento"] == '"parrot:1"'


def test_it_is_watched_and_stopped_as_it_should_be() -> None:
    text = render_dockerfile(ECHO, ContainerOptions())
    (check,) = steps(text, "HEALTHCHECK")
    assert "/readyz" in check
    assert steps(text, "STOPSIGNAL") == ["SIGTERM"]
    (entry,) = steps(text, "ENTRYPOINT")
    assert entry.startswith('["')  # no shell stands between the engine and the service
    assert entry.endswith('"--timeout-keep-alive", "75"]')
    (command,) = steps(text, "EXPOSE")
    assert command == "3000"


def test_vllm_gets_a_compiler_and_the_driver_and_no_cuda_base() -> None:
    big = Contents("big:1", (LLMSpec(model_id="a/b", backend="vllm"),))
    text = render_dockerfile(big, ContainerOptions())
    assert "gcc libc6-dev" in text
    assert "NVIDIA_DRIVER_CAPABILITIES=compute,utility" in text
    assert all(base.startswith("python:") for base in steps(text, "FROM"))
    assert "NVIDIA" not in render_dockerfile(ECHO, ContainerOptions())


def test_base_packages_and_parts_go_where_they_belong() -> None:
    options = ContainerOptions(
        base_image="registry.local:5000/python/slim:3.11",
        system_packages=("curl", "libgomp1=12.2.0-14"),
        parts={
            "build": "RUN echo building",
            "runtime": "# ours\nENV A=1 \\\n  B=2\nRUN echo running",
        },
    )
    _, build_stage, _, final = render_dockerfile(ECHO, options).split("\nFROM ")
    assert final.startswith("registry.local:5000/python/slim:3.11\n")
    assert "curl libgomp1=12.2.0-14" in final
    assert "RUN echo building" in build_stage
    assert final.index("RUN echo running") < final.index("USER 1034")


def test_a_base_image_may_be_named_by_digest() -> None:
    name = f"python:3.11-slim@sha256:{'0' * 64}"
    assert f"FROM {name} AS packages" in render_dockerfile(ECHO, ContainerOptions(base_image=name))


@pytest.mark.parametrize("value", EVIL)
@pytest.mark.parametrize("field", ["name", "base_image", "platform", "system_packages"])
def test_a_field_that_is_none_is_refused_in_one_line(field: str, value: str) -> None:
    with pytest.raises(BuildError, match="cannot be") as error:
        # on purpose
        ContainerOptions(**{field: (value,) if field == "system_packages" else value})  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("block", "text", "said"),
    [
        ("entrypoint", "RUN x", "has no part 'entrypoint'. It has build and runtime."),
        ("runtime", "USER root", "begins a line with 'USER'"),
        ("runtime", "RUN a\nFROM scratch", "begins a line with 'FROM'"),
        ("build", "{{ 7 * 7 }}", "begins a line with '{{'"),
        ("build", "RUN a \\", "ends in the middle of a line"),
        ("build", "RUN a \\\n\n# b\n", "ends in the middle of a line"),
        ("build", "RUN a \\\f", "ends in the middle of a line"),
        ("runtime", "# x\\\nUSER root", "begins a line with 'USER'"),
        ("runtime", "RUN a \\\n\x1c\nUSER root", "begins a line with 'USER'"),
        ("runtime", "RUN a \\\f\nUSER root", "begins a line with 'USER'"),
        ("runtime", "RUN a \\\\\nUSER root", "engines read differently"),
        ("runtime", "RUN <<EOF\nRUN a\nEOF", "heredocs are not taken"),
        ("runtime", "COPY <<-'RUN' /x\nRUN\nUSER root", "heredocs are not taken"),
    ],
)
def test_a_part_that_cannot_be_is_refused_in_one_line(block: str, text: str, said: str) -> None:
    with pytest.raises(BuildError) as error:
        ContainerOptions(parts={block: text})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_comments_and_empty_lines_may_stand_in_an_instruction() -> None:
    text = (
        "# first \\\nRUN cat <<< a \\\n  # ours\n\n  && echo $((1 << 2)) \\\r\n  # more \\\n  && b"
    )
    assert text in render_dockerfile(ECHO, ContainerOptions(parts={"runtime": text}))


def test_a_part_is_text_and_no_template() -> None:
    text = render_dockerfile(ECHO, ContainerOptions(parts={"build": "RUN echo '{{ 7 * 7 }}'"}))
    assert "{{ 7 * 7 }}" in text


@pytest.mark.parametrize("text", ["runtime", "runtime=", "runtime=./none"])
def test_a_part_that_is_no_file_is_one_line(text: str) -> None:
    with pytest.raises(BuildError, match=r"is no part|cannot be read"):
        read_part(text)
