"""Nothing secret, and nothing of the builder's machine, gets into a Bento."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from openllm.bento.contents.scan import scan_bento
from openllm.errors import BuildError

SECRET = "hunter2-hunter2"


def plant(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".whl":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("openllm/x.py", text)
    else:
        path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "src/spec.json",
            f'{{"engine_args": {{"hf_token": "{SECRET}"}}}}',
            "the value of HF_TOKEN in src/spec.json",
        ),
        ("bento.yaml", f"labels: {{key: {SECRET}}}", "the value of HF_TOKEN"),
        ("src/wheels/x.whl", f"KEY = '{SECRET}'", "src/wheels/x.whl/openllm/x.py"),
        ("env/python/requirements.txt", "--index-url somewhere", "the address of a package index"),
        (
            "env/python/requirements.txt",
            "a==1\n  --find-links /wheels",
            "the address of a package index",
        ),
        ("bento.yaml", "url: https://user:pass@host.example/simple", "a URL with credentials"),
        ("README.md", "from https://mirror.example/simple", "the address in UV_INDEX_URL"),
        ("src/bentofile.yaml", "context: BUILDER/project", "a path of the machine"),
    ],
)
def test_it_is_found_and_the_value_is_not_shown(
    tmp_path: Path, name: str, text: str, said: str
) -> None:
    builder = tmp_path / "builder"
    root = tmp_path / "bento"
    plant(root, name, text.replace("BUILDER", str(builder)))
    environ = {
        "HF_TOKEN": SECRET,
        "UV_INDEX_URL": "https://mirror.example/simple",
        "LANG": "C.UTF-8",
    }
    with pytest.raises(BuildError) as error:
        scan_bento(root, (builder,), environ)
    assert said in str(error.value)
    assert SECRET not in str(error.value)
    assert "pass@" not in str(error.value)
    assert "\n" not in str(error.value)


def test_a_link_out_of_the_bento_is_found(tmp_path: Path) -> None:
    root = tmp_path / "bento"
    root.mkdir()
    (root / "weights").symlink_to(tmp_path)
    with pytest.raises(BuildError, match="a link to a path of the machine"):
        scan_bento(root, (), {})


def test_what_is_harmless_passes(tmp_path: Path) -> None:
    plant(
        tmp_path,
        "README.md",
        "Set OPENLLM_API_KEY; the demo needs no token. See https://host.example/page@2",
    )
    plant(tmp_path, "src/service.py", "KEY = 'false'")
    environ = {
        "TOKENIZERS_PARALLELISM": "false",
        "API_KEY": "",
        "SSH_KEY": "key",
        "KEYBOARD": "the demo needs",
    }
    scan_bento(tmp_path, (Path("/app"), Path("/")), environ)
