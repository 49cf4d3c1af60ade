"""How large an image is, by part."""

from __future__ import annotations

from pathlib import Path

import pytest

from openllm.bento.build import BuildResult
from openllm.bento.image.container import containerize
from openllm.bento.image.dockerfile import ContainerOptions
from openllm.bento.image.engine import ENGINES
from openllm.bento.image.size import LARGEST, package_sizes
from openllm.bento.lock.requirements import lock_requirements
from tests.bento.image.engines import BASE, IMAGE, install


@pytest.mark.parametrize("engine", ENGINES)
def test_the_size_is_told_by_part(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    install(record, monkeypatch, engine)
    size = containerize(built.tag, ContainerOptions(engine=engine)).size
    assert size is not None
    assert (size.base, size.total, size.bento) == (BASE, IMAGE, built.size)
    assert set(size.packages) == {
        pin.partition("==")[0] for pin in lock_requirements(["echo"]).pins
    }
    assert min(size.packages.values()) > 0
    assert size.ratio == IMAGE / (BASE + sum(size.packages.values()))
    rows = dict(size.rows())
    assert list(rows)[:2] == ["base", "packages"]
    assert next(name for name in rows if name.startswith("  ")) == "  transformers"
    assert len(rows) == 5 + LARGEST
    assert rows["base"] + rows["packages"] + rows["Bento"] + rows["rest"] == rows["total"] == IMAGE


def test_an_engine_that_does_not_tell_sizes_is_no_failure(
    built: BuildResult, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(record, monkeypatch)
    program = record.parent / "bin/podman"
    program.write_text(program.read_text().replace("echo 50000000", "echo unknown"))
    assert containerize(built.tag).size is None


def test_a_package_of_another_version_has_no_size() -> None:
    assert package_sizes(
        ["attrs==0.1", "no-such-package==1", "./wheels/x.whl", "# left out: a -> b"]
    ) == {
        "attrs": 0,
        "no-such-package": 0,
    }
