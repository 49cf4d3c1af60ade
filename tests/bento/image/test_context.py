"""The build context: what is in it, that nothing large is copied, that everybody may read it."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from openllm.bento.build import build
from openllm.bento.image.context import BentoParts, build_context
from openllm.config.spec import LLMSpec
from openllm.errors import BuildError
from tests.bento.models import write_echo_weights

LARGE = 100_000  # bytes, above `files.LINK_FROM`


@pytest.fixture
def strict() -> Iterator[None]:
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def parts(home: Path, tmp_path: Path, request: pytest.FixtureRequest) -> BentoParts:
    """A Bento of a model with one large file, whose mode is the fixture's parameter."""
    weights = write_echo_weights(tmp_path / "parrot")
    large = weights / "extra.txt"
    large.write_bytes(bytes(LARGE))
    for path in weights.iterdir():
        path.chmod(request.param)
    return BentoParts.of(build(LLMSpec(model_id=str(weights), backend="echo")).tag)


@pytest.mark.parametrize("parts", [0o644], indirect=True)
def test_what_is_large_is_linked(parts: BentoParts) -> None:
    ((tag, directory),) = parts.models
    with build_context(parts, "FROM scratch\n") as work:
        context = work / "context"
        linked = context / "models" / parts.layers[0] / "extra.txt"
        assert parts.layers == [f"{tag.name}/{tag.version}"]
        assert linked.samefile(directory / "extra.txt") or not linked.stat().st_nlink > 1
        assert (work / "Dockerfile").read_text() == "FROM scratch\n"
        pointer = context / "bento/models" / str(tag.name) / "latest"
        assert pointer.read_text() == tag.version
        lock = (parts.path / "env/python/requirements.txt").read_text().splitlines()
        both = [(context / "build" / name).read_text() for name in ("packages.txt", "openllm.txt")]
        assert sorted("".join(both).splitlines()) == sorted(lock)
        assert both[1].startswith("./wheels/openllm-")
        assert (context / "build" / both[1].split()[0]).is_file()
        assert {"completion.py", "trim.py"} <= {path.name for path in (context / "build").iterdir()}
    assert not work.exists()


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("parts", [0o600, 0o400, 0o640], indirect=True)
def test_everybody_may_read_it_whatever_the_modes_and_the_umask_are(parts: BentoParts) -> None:
    ((_, directory),) = parts.models
    before = {path: path.stat().st_mode for path in directory.rglob("*")}
    with build_context(parts, "FROM scratch\n") as work:
        for path in (work / "context").rglob("*"):
            program = path.name == "entrypoint.sh"  # of BentoML's own image
            wanted = 0o755 if path.is_dir() or program else 0o644
            assert stat.S_IMODE(path.stat().st_mode) == wanted, path
        copied = work / "context/models" / parts.layers[0] / "extra.txt"
        assert copied.read_bytes() == (directory / "extra.txt").read_bytes()
    assert {path: path.stat().st_mode for path in directory.rglob("*")} == before


@pytest.mark.parametrize("parts", [0o600], indirect=True)
def test_room_for_what_must_be_copied_is_asked_for_first(
    parts: BentoParts, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(parts.path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=LARGE // 2))
    with (
        pytest.raises(BuildError, match=r"build context of parrot:.* needs .* on the disk"),
        build_context(parts, "FROM scratch\n"),
    ):
        pass


@pytest.mark.parametrize("parts", [0o644], indirect=True)
def test_a_link_out_of_the_bento_or_the_model_is_refused(parts: BentoParts, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "id_rsa").write_text("a key")
    (secret / "id_rsa").chmod(0o600)
    ((_, model),) = parts.models
    for link, target in [
        (parts.path / "src/notes.txt", secret / "id_rsa"),
        (parts.path / "env/folder", secret),
        (model / "notes.txt", secret / "id_rsa"),
    ]:
        link.symlink_to(target)
        with (
            pytest.raises(BuildError, match=rf"{link} is a link to {target}, out of") as error,
            build_context(parts, "FROM scratch\n"),
        ):
            pass
        assert "\n" not in str(error.value)
        link.unlink()


@pytest.mark.parametrize("parts", [0o644], indirect=True)
def test_a_link_that_stays_inside_is_the_file_that_it_leads_to(parts: BentoParts) -> None:
    (parts.path / "src/notes.txt").symlink_to("service.py")
    (parts.path / "src/loop").symlink_to("loop")
    with build_context(parts, "FROM scratch\n") as work:
        copied = work / "context/bento/src/notes.txt"
        assert not copied.is_symlink()
        assert copied.read_bytes() == (parts.path / "src/service.py").read_bytes()


@pytest.mark.parametrize("parts", [0o644], indirect=True)
def test_the_store_is_what_it_was(parts: BentoParts, home: Path) -> None:
    def everything() -> dict[Path, tuple[int, int]]:
        return {
            path: (path.stat().st_mode, path.stat().st_size)
            for path in home.rglob("*")
            if path.is_file()
        }

    before = everything()
    with pytest.raises(KeyError), build_context(parts, "FROM scratch\n"):
        raise KeyError
    assert everything() == before
