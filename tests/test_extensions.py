"""What other distributions add to openllm is used like what comes with it, and no other file is
touched: a backend, a family, a protocol, a command, and formats of tools and thoughts, through
`openllm start`, `openllm build` and `bentoml serve`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from openllm.discovery import GROUPS
from tests.bento.conftest import ServerProcess, running
from tests.bento.models import write_echo_weights
from tests.extensions import ALL, Published, install, write_metadata

ROOT = Path(__file__).parents[1]
BUILD_WAIT = 300.0  # seconds
PROMPT = "hello world how are you"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution of every kind."""
    return install(tmp_path_factory.mktemp("site"), *ALL)


@pytest.fixture(scope="module")
def heron(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the family that one of the distributions adds."""
    place = write_echo_weights(tmp_path_factory.mktemp("weights") / "grey")
    config = json.loads((place / "config.json").read_text())
    config["architectures"] = ["HeronForCausalLM"]
    (place / "config.json").write_text(json.dumps(config))
    return place


def variables(site: Path, store: Path) -> dict[str, str]:
    """What makes a process see the folder and a store of its own."""
    (store / "models").mkdir(parents=True, exist_ok=True)
    return {
        "PYTHONPATH": os.pathsep.join((str(site), str(ROOT))),
        "BENTOML_HOME": str(store),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def python(site: Path, store: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with `arguments`, without this machine's settings."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("OPENLLM_")}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**kept, **variables(site, store)},
        timeout=BUILD_WAIT,
        cwd=ROOT,
    )


def run(site: Path, store: Path, *words: str) -> str:
    """What `openllm WORDS` prints; it must succeed."""
    done = python(site, store, "-m", "openllm", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def said(server: ServerProcess) -> str:
    answer = server.openai().completions.create(model="grey", prompt=PROMPT, max_tokens=64)
    return answer.choices[0].text


def assert_serves_backwards(server: ServerProcess) -> None:
    """The foreign engine answers the foreign family's model, and the foreign protocol its route."""
    server.wait_ready()
    assert said(server) != PROMPT
    assert sorted(said(server)) == sorted(PROMPT)
    assert httpx.get(f"{server.url}/telegraph").json() == {"telegram": "grey STOP"}
    assert "Backend backwards: it was asked for." in server.text()


def test_a_command_is_in_the_help_and_runs(site: Path, tmp_path: Path) -> None:
    assert "  hello-there  Greet whoever asks.\n" in run(site, tmp_path, "--help")
    assert run(site, tmp_path, "hello-there", "Ann") == "Hello, Ann.\n"
    assert "--debug" in run(site, tmp_path, "hello-there", "--help")
    done = python(site, tmp_path, "-m", "openllm", "hello-thre")
    assert done.stderr.startswith("Error: No such command 'hello-thre'. Did you mean hello-there?")


def test_a_family_is_listed_and_named(site: Path, tmp_path: Path) -> None:
    families = {
        item["name"]: item
        for item in json.loads(run(site, tmp_path, "models", "-o", "json"))["families"]
    }
    assert families["heron"]["backends"] == ["pytorch", "vllm", "backwards"]
    assert families["llama"]["backends"][-1] == "backwards"
    assert "backwards" not in families["phi"]["backends"]
    spec = json.loads(run(site, tmp_path, "start", "egret", "--print-spec"))
    assert spec == {"family": "heron", "model_id": "acme/heron-1b"}


def test_a_backend_is_listed_and_chosen_by_name_and_by_spelling(site: Path, tmp_path: Path) -> None:
    found = json.loads(run(site, tmp_path, "env", "-o", "json"))
    assert {
        "name": "backwards",
        "title": "the engine that talks backwards",
        "spellings": ["reverse"],
        "distribution": "openllm-backwards",
        "obstacle": None,
    } in found["backends"]
    assert found["versions"]["openllm-backwards"] == "1.0"
    assert "|backwards|" in run(site, tmp_path, "start", "--help").replace("\n", "")
    for word in ("backwards", "reverse"):
        spec = json.loads(run(site, tmp_path, "start", "heron", "--backend", word, "--print-spec"))
        assert spec["backend"] == "backwards"
    wrong = ["start", "heron", "--backend", "reverse", "--quantization", "int8", "--print-spec"]
    done = python(site, tmp_path, "-m", "openllm", *wrong)
    assert done.returncode == 2
    assert "The backwards backend cannot do 'int8'. It can do feather." in done.stderr
    done = python(site, tmp_path, "-m", "openllm", "start", "phi", "--backend", "backwards")
    assert "Phi does not run on backwards. Choose vllm, pytorch." in done.stderr


def test_a_backend_has_classes(site: Path, tmp_path: Path) -> None:
    code = """
import openllm
llm = openllm.AutoBackwardsLLM.for_model("heron")
print(type(llm).__name__, llm.spec.backend, openllm.AutoBackwardsLLM.__doc__)
print(openllm.BackwardsLlama().spec.backend)
print(openllm.Heron().spec.backend, openllm.VLLMHeron().spec.backend)
print({"AutoBackwardsLLM", "BackwardsLlama", "Heron"} <= set(dir(openllm)))
print(sorted(family.name for family in openllm.AutoBackwardsLLM._model_mapping))
"""
    done = python(site, tmp_path, "-c", code)
    assert done.stdout.splitlines() == [
        "BackwardsHeron backwards LLMs on the engine that talks backwards.",
        "backwards",
        "pytorch vllm",
        "True",
        "['heron', 'llama']",
    ], done.stderr


def test_an_answer_is_read_in_formats_of_theirs(site: Path, heron: Path, tmp_path: Path) -> None:
    code = """
import asyncio, sys, openllm
from openllm.answer.generation import collect
from openllm.types import GenerationRequest, Reading

async def main():
    async with openllm.LLM(sys.argv[1], backend="echo") as llm:
        params = llm.sampling_params(max_tokens=64)
        reading = Reading(reasoning="mutter", tools="shout")
        request = GenerationRequest("(well)\\nWEATHER\\nsunny\\n", params, reading=reading)
        output = await collect(await llm.admit(request))
        print(*output.outputs[0].parts, sep="\\n")

asyncio.run(main())
"""
    done = python(site, tmp_path, "-c", code, str(heron))
    assert done.stdout.splitlines() == [
        "Reasoning(text='well')",
        "ToolCall(index=0, arguments='{}', id='call_0', name='weather')",
        "Text(text='sunny\\n')",
    ], done.stderr


def test_start_serves_with_all_of_them(site: Path, heron: Path, tmp_path: Path) -> None:
    command = ["openllm", "start", str(heron), "--backend", "reverse"]
    with running(command, tmp_path / "log", **variables(site, tmp_path)) as server:
        assert_serves_backwards(server)


@pytest.fixture(scope="module")
def built(site: Path, heron: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A Bento with the foreign engine and family, as `openllm build -o json` tells of it; and its
    store.
    """
    store = tmp_path_factory.mktemp("store")
    options = ["--backend", "backwards", "--k8s", str(store / "k8s"), "-t", "my/grey:1"]
    result = json.loads(run(site, store, "build", str(heron), *options, "-o", "json"))
    return {**result, "store": store}


def test_a_bento_locks_the_distributions_it_is_served_with(built: dict[str, Any]) -> None:
    (spec,) = built["specs"]
    assert (spec["backend"], spec["family"]) == ("backwards", "heron")
    path = Path(built["path"]) / "env" / "python" / "requirements.txt"
    lines = path.read_text().splitlines()
    wanted = ("backwards", "heron", "telegraph", "shout")
    assert {f"openllm-{name}==1.0" for name in wanted} <= set(lines)
    assert f"psutil=={psutil.__version__}" in lines  # which that engine requires
    assert not [line for line in lines if line.startswith("openllm-hello")]  # it serves nothing


def test_a_bento_gets_what_the_facts_say_the_engine_needs(
    site: Path, built: dict[str, Any]
) -> None:
    assert "libgomp1" in (Path(built["path"]) / "bento.yaml").read_text()
    manifests = "".join(path.read_text() for path in (built["store"] / "k8s").iterdir())
    assert "nvidia.com/gpu: 1" in manifests
    code = f"""
from openllm.bento.image.dockerfile import ContainerOptions, Contents, render_dockerfile
from openllm.config.spec import LLMSpec
spec = LLMSpec.from_dict({built["specs"][0]!r})
print(render_dockerfile(Contents("grey:1", (spec,)), ContainerOptions()))
"""
    text = python(site, built["store"], "-c", code).stdout
    assert "--no-install-recommends libgomp1" in text
    assert "NVIDIA_VISIBLE_DEVICES" in text


def test_bentoml_serves_what_was_built(site: Path, built: dict[str, Any], tmp_path: Path) -> None:
    command = ["bentoml", "serve", built["tag"], "--host", "127.0.0.1"]
    with running(command, tmp_path / "log", **variables(site, built["store"])) as server:
        assert_serves_backwards(server)


def test_a_bento_whose_engine_is_not_installed_says_so(
    built: dict[str, Any], tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    command = ["bentoml", "serve", built["tag"], "--host", "127.0.0.1"]
    with running(command, tmp_path / "log", **variables(empty, built["store"])) as server:
        assert server.wait() == 1
    assert "backend 'backwards' is not one of vllm, pytorch, echo, flax, tf." in server.text()
    assert "Traceback" not in server.text()


def test_a_backend_is_held_to_the_contract(site: Path, tmp_path: Path) -> None:
    suites = [f"tests/backends/test_{name}.py" for name in ("contract", "adapters")]
    options = ["-k", "backwards", "-p", "no:cacheprovider", "-q"]
    done = python(site, tmp_path, "-m", "pytest", *suites, *options)
    assert done.returncode == 0, done.stdout
    passed = done.stdout.splitlines()[-1].split(" passed")[0]
    assert int(passed) > 10, done.stdout


def test_what_is_called_like_ours_takes_nothing_of_it(tmp_path: Path) -> None:
    package = tmp_path / "openllm_greedy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "facts.py").write_text(
        "from openllm.facts import ANY_FAMILY, Facts\n"
        "FACTS = Facts(name='greedy', title='it', spellings=('pt',), class_prefix='',"
        " families=ANY_FAMILY)\n"
    )
    entries = {"openllm.backends": {"greedy": "openllm_greedy", "vllm": "openllm_greedy"}}
    write_metadata(tmp_path, Published("openllm-greedy", entries))
    code = """
import openllm
from openllm.facts import backend_names
print(*backend_names())
print(openllm.LLM("demo", backend="pt").spec.backend, openllm.Llama().spec.backend)
print(openllm.AutoLLM.backend_name, openllm.AutoVLLM.backend_name)
"""
    done = python(tmp_path, tmp_path, "-c", code)
    assert done.stdout.splitlines() == [
        "vllm pytorch echo flax greedy tf",
        "pytorch pytorch",
        "pytorch vllm",
    ], done.stderr
    assert done.stderr == (
        "The backend 'vllm' of openllm-greedy is not used: openllm has one of that name.\n"
    )


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a distribution whose one module does not import."""
    folder = tmp_path_factory.mktemp("broken")
    (folder / "openllm_broken.py").write_text('"""Nothing that works."""\nimport not_installed\n')
    entries = {group: {"broken": "openllm_broken"} for group in GROUPS}
    write_metadata(folder, Published("openllm-broken", entries))
    return folder


def test_a_broken_distribution_takes_nothing_else_down(broken: Path, tmp_path: Path) -> None:
    line = (
        "of openllm-broken cannot be loaded: ModuleNotFoundError: No module named 'not_installed'"
    )
    done = python(broken, tmp_path, "-m", "openllm", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^  broken +Nothing that works\.$", done.stdout, re.MULTILINE)
    for words, kind in ((("models",), "family"), (("env",), "backend")):
        done = python(broken, tmp_path, "-m", "openllm", *words)
        assert done.returncode == 0
        told = f"The {kind} 'broken' {line}. Update or uninstall openllm-broken."
        assert done.stderr.splitlines().count(told) == 1
        assert all("'broken' of openllm-broken" in each for each in done.stderr.splitlines())
    done = python(broken, tmp_path, "-m", "openllm", "broken")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: The command 'broken' {line}. Update or uninstall openllm-broken.\n"
    )


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "    unusable = classmethod(lambda cls, spec: None)\n",
            "its unusable must take (spec, settings)",
        ),
        (
            "    async def submit(self, request): ...\n",
            "its submit must take (self, request, sink)",
        ),
    ],
)
def test_a_backend_of_another_contract_takes_nothing_else_down(
    tmp_path: Path, body: str, reason: str
) -> None:
    package = tmp_path / "openllm_older"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "facts.py").write_text(
        "from openllm.facts import Facts\nFACTS = Facts(name='older', title='older')\n"
    )
    (package / "backend.py").write_text(
        "from openllm.backends.echo.backend import EchoBackend\n"
        "from openllm_older.facts import FACTS\n"
        f"class BACKEND(EchoBackend):\n    facts = FACTS\n{body}"
    )
    write_metadata(
        tmp_path, Published("openllm-older", {"openllm.backends": {"older": "openllm_older"}})
    )
    done = python(tmp_path, tmp_path, "-m", "openllm", "env", "-o", "json")
    assert (done.returncode, done.stderr) == (0, "")
    told = {each["name"]: each["obstacle"] for each in json.loads(done.stdout)["backends"]}
    assert told["older"].endswith(
        f"is unlike Backend: {reason}. Update or uninstall openllm-older."
    )
    assert told["echo"] is None


def test_a_server_leaves_a_broken_protocol_out(broken: Path, heron: Path, tmp_path: Path) -> None:
    command = ["openllm", "start", str(heron), "--backend", "echo"]
    with running(command, tmp_path / "log", **variables(broken, tmp_path)) as server:
        server.wait_ready()
        assert said(server) == PROMPT
    assert "The protocol 'broken' of openllm-broken cannot be loaded: " in server.text()


def test_the_page_on_extending_shows_what_is_used_here() -> None:
    page = (ROOT / "docs" / "extending.md").read_text()
    sources = "".join(path.read_text() for path in (ROOT / "tests" / "extensions").rglob("*.py"))
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 4
    assert [block for block in blocks if block.strip() not in sources] == []
    assert all(f"`{group}`" in page for group in GROUPS)
