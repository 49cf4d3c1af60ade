"""`openllm deploy` with BentoML's own client against a local server that speaks its routes: what
the server got, and that every failure is one line and exit code 1.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from openllm.bento.build import BuildOptions, BuildResult, build
from openllm.bento.pack.resources import Resources
from openllm.config.spec import LLMSpec
from tests.bento.conftest import echo_model, home
from tests.cli.conftest import Run
from tests.cloud import CLUSTER, TOKEN, FakeCloud, cloud

__all__ = ["cloud", "echo_model", "home"]
SECRET_VALUE = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openllm.bento.cloud.rollout.POLL_SECONDS", 0.01)


@pytest.fixture
def built(run: Run, home: Path, echo_model: Path) -> BuildResult:
    return build(LLMSpec(model_id=str(echo_model), backend="echo"))


def _sent(cloud: FakeCloud, name: str = "parrot") -> dict[str, Any]:
    """What the server got, without the fields that BentoML's schema fills with nothing."""
    return _bare(cloud.deployments[name].config)


def _bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _bare(item)
            for key, item in value.items()
            if item not in (None, {}, []) and key != "dev"
        }
    return [_bare(item) for item in value] if isinstance(value, list) else value


def test_a_bento_is_pushed_deployed_and_waited_for(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    cloud.secrets.add("huggingface")
    args = ["--env", f"HF_HOME={SECRET_VALUE}", "--env", "EMPTY=", "--secret", "huggingface"]
    result = run("deploy", "parrot:latest", *args, "--scaling-min", "0", "--scaling-max", "3")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines() == [
        f"parrot serves {built.tag}: running.",
        "https://parrot.example.org",
    ]
    lines = result.stderr.splitlines()
    assert lines[0] == "Taking cpu.1 at 0.04, the cheapest that it fits on."
    assert lines[1].startswith(f"Sent {built.models[0].tag} (")
    assert lines[3:] == [
        f"Created parrot: {cloud.url}/deployments/parrot",
        "parrot is image-building.",
        "parrot is deploying.",
        "parrot is running.",
    ]
    assert _sent(cloud) == {
        "name": "parrot",
        "bento": built.tag,
        "access_authorization": True,
        "envs": [{"name": "HF_HOME", "value": SECRET_VALUE}, {"name": "EMPTY", "value": ""}],
        "secrets": ["huggingface"],
        "services": {
            "parrot": {"instance_type": "cpu.1", "scaling": {"min_replicas": 0, "max_replicas": 3}}
        },
    }
    assert SECRET_VALUE not in result.output
    assert TOKEN not in result.output


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_dry_run_prints_what_is_sent_and_sends_nothing(
    run: Run, cloud: FakeCloud, built: BuildResult, form: str
) -> None:
    args = [
        "deploy",
        built.tag,
        "--name",
        "bird",
        "--env",
        "A=1",
        "--cluster",
        CLUSTER,
        "--no-access-token",
    ]
    rehearsed = run(*args, "--dry-run", "-o", form)
    assert rehearsed.exit_code == 0, rehearsed.stderr
    assert [method for method, _ in cloud.requests if method != "GET"] == []
    config = json.loads(rehearsed.stdout) if form == "json" else yaml.safe_load(rehearsed.stdout)

    assert run(*args).exit_code == 0
    assert config.pop("cluster") == cloud.deployments["bird"].cluster == CLUSTER
    assert _sent(cloud, "bird") == {
        key: value for key, value in config.items() if key != "access_authorization"
    } | ({"access_authorization": False})


def test_a_dry_run_that_leaves_nothing_open_uses_no_network(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    result = run("deploy", built.tag, "--dry-run", "--instance-type", "gpu.l4.1", "-o", "json")
    assert (result.exit_code, result.stderr, cloud.requests) == (0, "", [])
    assert json.loads(result.stdout)["services"]["parrot"]["instance_type"] == "gpu.l4.1"


def test_a_dry_run_without_an_account_leaves_the_machine_to_bentocloud(
    run: Run, built: BuildResult
) -> None:
    result = run("deploy", built.tag, "--dry-run", "-o", "json")
    assert result.exit_code == 0
    assert (
        result.stderr
        == "No BentoCloud account is set up on this machine. The instance type is left to"
        " BentoCloud.\n"
    )
    assert "instance_type" not in json.loads(result.stdout)["services"]["parrot"]


def test_two_keys_for_one_header_are_pointed_out(run: Run, built: BuildResult) -> None:
    args = [
        "deploy",
        built.tag,
        "--dry-run",
        "--instance-type",
        "cpu.2",
        "--env",
        f"OPENLLM_API_KEY={SECRET_VALUE}",
    ]
    told = run(*args)
    assert told.exit_code == 0
    assert told.stderr.startswith("OPENLLM_API_KEY and BentoCloud's token come in one header")
    assert SECRET_VALUE not in told.stderr
    assert run(*args, "--no-access-token").stderr == ""


def test_the_configuration_is_one_that_bentomls_own_command_takes(
    run: Run, cloud: FakeCloud, built: BuildResult, tmp_path: Path
) -> None:
    import bentoml

    from openllm.bento.cloud.account import connect

    path = tmp_path / "config.yaml"
    path.write_text(run("deploy", built.tag, "--dry-run").stdout)
    bentoml.deployment.create(config_file=str(path), _cloud_client=connect().client)
    assert _sent(cloud) == yaml.safe_load(path.read_text())


def test_a_second_time_it_is_updated_and_what_goes_is_said(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    cloud.secrets.add("huggingface")
    first = run(
        "deploy", built.tag, "--env", f"A={SECRET_VALUE}", "--env", "B=2", "--secret", "huggingface"
    )
    assert first.exit_code == 0
    uploads = cloud.asked("PUT", "/storage/.*")
    again = run("deploy", built.tag, "--env", "B=3", "--scaling-max", "2", "-o", "json")
    assert again.exit_code == 0, again.stderr
    assert "parrot had these, and they are not given any more: A, huggingface." in again.stderr
    assert f"Updated parrot: {cloud.url}/deployments/parrot" in again.stderr
    assert json.loads(again.stdout) == {
        "name": "parrot",
        "bento": built.tag,
        "new": False,
        "status": "running",
        "urls": ["https://parrot.example.org"],
        "console": f"{cloud.url}/deployments/parrot",
    }
    live = cloud.deployments["parrot"]
    assert (live.revisions, live.cluster) == (2, None)
    assert _sent(cloud)["envs"] == [{"name": "B", "value": "3"}]
    assert "secrets" not in _sent(cloud)
    assert _sent(cloud)["services"]["parrot"]["scaling"] == {"min_replicas": 1, "max_replicas": 2}
    assert cloud.asked("PUT", "/storage/.*") == uploads
    assert SECRET_VALUE not in again.output


def test_a_recipe_is_built_first(
    run: Run, cloud: FakeCloud, home: Path, echo_model: Path, tmp_path: Path
) -> None:
    recipe = tmp_path / "two.yaml"
    resources = "{gpu: 1, gpu_type: nvidia-l4}"
    recipe.write_text(
        f"model_id: {echo_model}\nname: bird\nbackend: echo\nresources: {resources}\n"
    )
    result = run("deploy", "-f", str(recipe), "--no-wait")
    assert result.exit_code == 0, result.stderr
    assert "Taking gpu.l4.1 at 0.90, the cheapest that it fits on." in result.stderr
    assert re.fullmatch(r"bird serves bird:[0-9a-f]{16}: image-building\.\n", result.stdout)
    assert (
        cloud.asked("GET", "/api/v2/deployments/bird") == 2
    )  # is it there? once by us, once by BentoML


def test_a_bento_that_is_only_on_bentocloud_is_deployed(
    run: Run, cloud: FakeCloud, built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bentoml

    assert run("deploy", built.tag).exit_code == 0
    bentoml.bentos.delete(built.tag)
    result = run("deploy", built.tag, "--name", "twin")
    assert result.exit_code == 0, result.stderr
    assert (
        "The Bento is not here to be measured: BentoCloud decides on the instance type."
        in result.stderr
    )
    assert list(_sent(cloud, "twin")["services"]) == ["parrot"]


def test_instance_types_are_listed_with_prices_and_what_fits(
    run: Run, cloud: FakeCloud, home: Path, echo_model: Path
) -> None:
    two = BuildOptions(name="two", resources=Resources(gpu=2, gpu_type="nvidia-l4"))
    tag = build(LLMSpec(model_id=str(echo_model), backend="echo"), two).tag
    plain = run("deploy", "--instance-types")
    assert (plain.exit_code, plain.stderr) == (0, "")
    assert [line.split()[0] for line in plain.stdout.splitlines()[1:]] == [
        "cpu.1",
        "cpu.2",
        "gpu.l4.1",
        "gpu.l4.4",
        "gpu.a100.1",
    ]
    result = run("deploy", tag, "--instance-types")
    fits = {line.split()[0]: re.split(r"  +", line)[-1] for line in result.stdout.splitlines()}
    assert fits == {
        "INSTANCE": "FITS",
        "cpu.1": "no: needs 2 GPUs, has none",
        "cpu.2": "no: needs 2 GPUs, has none",
        "gpu.l4.1": "no: needs 2 GPUs, has 1",
        "gpu.l4.4": "yes",
        "gpu.a100.1": "no: needs 2 GPUs, has 1",
    }
    rows = json.loads(run("deploy", tag, "--instance-types", "-o", "json").stdout)
    assert [row["name"] for row in rows if row["fits"]] == ["gpu.l4.4"]
    assert rows[3]["gpu_memory"] == 24 * 2**30


def test_without_a_list_bentocloud_decides(run: Run, cloud: FakeCloud, built: BuildResult) -> None:
    cloud.refuse("GET", "/api/v1/instance_types", 403, {"error": "not for you"})
    result = run("deploy", built.tag)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "BentoCloud forbids to list the instance types: not for you. BentoCloud decides.\n"
    )
    assert "instance_type" not in _sent(cloud)["services"]["parrot"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--env", f"{SECRET_VALUE}"], "--env number 1 is not K=V."),
        (["--env", "A=1", "--env", f"1B={SECRET_VALUE}"], "--env number 2 is not K=V."),
        (["--env", "A=1", "--env", f"A={SECRET_VALUE}"], "--env A is given twice."),
        (
            ["--scaling-min", "3", "--scaling-max", "2"],
            "At least 3 and at most 2 replicas cannot be.",
        ),
        (["--scaling-min", "-1"], "The number of replicas cannot be negative."),
        (["--scaling-max", "-2"], "The number of replicas cannot be negative."),
        (["--scaling-max", "0"], "At most 0 replicas would serve nobody."),
        (["--name", "My_Bird"], "A deployment cannot be called 'My_Bird'."),
        (["--name", "1bird"], "A deployment cannot be called '1bird'."),
        (["--name", "a" * 64], "A deployment cannot be called 'aaa"),
        (["--name", "a;$(x)"], "A deployment cannot be called 'a;$(x)'."),
        (["--secret", "a b"], "Secret 1 cannot be a secret's name."),
        (["--timeout", "0"], "Nobody can wait 0 seconds."),
        (["--timeout", "nan"], "Nobody can wait nan seconds."),
    ],
)
def test_wrong_values_are_one_line_before_anything_is_asked(
    run: Run, cloud: FakeCloud, home: Path, args: list[str], says: str
) -> None:
    _check_one_line(run("deploy", "parrot:1", *args), says)
    assert cloud.requests == []


def _check_one_line(result: Any, says: str, *, progress: bool = False) -> None:
    """`progress`: lines about what succeeded may come before."""
    assert result.exit_code == 1
    assert result.stdout == ""
    last = result.stderr.splitlines()[-1]
    assert last.startswith("Error: ")
    assert says in last
    assert result.stderr.count("Error: ") == 1
    assert progress or result.stderr.count("\n") == 1
    assert SECRET_VALUE not in result.output
    assert TOKEN not in result.output


def test_nothing_named_is_one_line(run: Run, cloud: FakeCloud) -> None:
    _check_one_line(run("deploy"), "Nothing to deploy is named.")


def test_no_account_is_one_line_that_says_how_to_get_one(run: Run, built: BuildResult) -> None:
    says = (
        "No BentoCloud account is set up on this machine. Run `bentoml cloud login`, or set"
        " BENTO_CLOUD_API_KEY"
    )
    _check_one_line(run("deploy", built.tag), says)


def test_the_account_of_bentoml_cloud_login_is_used(
    run: Run, home: Path, built: BuildResult
) -> None:
    with FakeCloud() as cloud:
        login = {"name": "default", "endpoint": cloud.url, "api_token": TOKEN}
        (home / ".yatai.yaml").write_text(
            yaml.safe_dump({"contexts": [login], "current_context_name": "default"})
        )
        assert run("deploy", built.tag, "--no-wait").exit_code == 0
        (home / ".yatai.yaml").write_text(f"contexts: [{{api_token: {TOKEN}\n  - x: :")
        _check_one_line(
            run("deploy", built.tag), "The token or endpoint of the BentoCloud account cannot"
        )


@pytest.mark.parametrize(
    "endpoint", ["http://127.0.0.1:1", "nowhere", "http://[x", "ftp://127.0.0.1"]
)
def test_an_endpoint_nobody_listens_at_is_one_line(
    run: Run, built: BuildResult, endpoint: str
) -> None:
    result = run("deploy", built.tag, BENTO_CLOUD_API_KEY=TOKEN, BENTO_CLOUD_API_ENDPOINT=endpoint)
    _check_one_line(result, f"BentoCloud at {endpoint} cannot be reached (")


@pytest.mark.parametrize("token", ["wrong", "with\nnewline", "sch\u00f6n"])
def test_a_bad_token_is_one_line(
    run: Run, cloud: FakeCloud, built: BuildResult, token: str
) -> None:
    result = run("deploy", built.tag, BENTO_CLOUD_API_KEY=token)
    _check_one_line(result, "BentoCloud a")
    assert token not in result.output
    if token == "wrong":
        assert "refuses the API token. Run `bentoml cloud login`" in result.stderr


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            402,
            {"error": "Quota of 2 GPUs is used up"},
            "BentoCloud refused to create parrot: Quota of 2 GPUs is used",
        ),
        (
            400,
            {"message": f"bad env {SECRET_VALUE}"},
            "BentoCloud refused to create parrot: bad env ***.",
        ),
        (
            409,
            "name is taken\nby bob",
            "BentoCloud refused to create parrot: name is taken by bob.",
        ),
        (
            403,
            {"error": "no permission"},
            "BentoCloud forbids to create parrot: no permission. The account may not",
        ),
        (
            500,
            {"error": "boom"},
            "BentoCloud failed (500), could not create parrot: boom. Try again later.",
        ),
        (502, "<html>" + "x" * 1000, "BentoCloud failed (502), could not create parrot: <html>xxx"),
        (
            200,
            "<html>hello</html>",
            "answered something that is not BentoCloud's API: could not create parrot.",
        ),
        (
            200,
            {"uid": "x"},
            "answered something that is not BentoCloud's API: could not create parrot.",
        ),
        (401, {"error": "expired"}, "refuses the API token."),
    ],
)
def test_a_refusal_is_one_line_that_quotes_the_server(
    run: Run, cloud: FakeCloud, built: BuildResult, status: int, body: Any, says: str
) -> None:
    cloud.refuse("POST", "/api/v2/deployments", status, body)
    result = run("deploy", built.tag, "--env", f"A={SECRET_VALUE}")
    _check_one_line(result, says, progress=True)
    assert len(result.stderr.splitlines()[-1]) < 600
    assert cloud.deployments == {}


def test_what_bentoml_logs_beside_an_error_is_not_printed(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    cloud.refuse("GET", "/api/v1/auth/current", 500, f"trace of {SECRET_VALUE}", times=1)
    result = run("deploy", built.tag, "--env", f"A={SECRET_VALUE}")
    _check_one_line(result, "BentoCloud failed (500), could not log in: trace of ***.")


def test_a_server_that_is_slow_is_one_line(run: Run, cloud: FakeCloud, built: BuildResult) -> None:
    cloud.refuse("POST", "/api/v2/deployments", 0, "", delay=30)
    result = run("deploy", built.tag, "--timeout", "1")
    says = f"BentoCloud at {cloud.url} did not answer in time: could not create parrot."
    _check_one_line(result, says, progress=True)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (
            ["--instance-type", "gpu.l4"],
            "BentoCloud has no instance type 'gpu.l4'. Did you mean gpu.l4.",
        ),
        (
            ["--instance-type", "zzz"],
            "no instance type 'zzz'. `openllm deploy --instance-types` lists them.",
        ),
        (
            ["--secret", "huggingfaec"],
            "BentoCloud has no secret 'huggingfaec'. `bentoml secret create` makes one",
        ),
    ],
)
def test_what_is_not_there_is_one_line(
    run: Run, cloud: FakeCloud, built: BuildResult, args: list[str], says: str
) -> None:
    _check_one_line(run("deploy", built.tag, *args), says)
    assert cloud.archives == {}  # a large model is not sent in vain


def test_no_such_bento_is_one_line(run: Run, cloud: FakeCloud, home: Path) -> None:
    _check_one_line(
        run("deploy", "nothing:1"), "There is no Bento 'nothing:1', neither here nor on BentoCloud."
    )
    rehearsed = run("deploy", "nothing:1", "--dry-run", BENTO_CLOUD_API_KEY="")
    _check_one_line(rehearsed, "There is no Bento 'nothing:1'", progress=True)


def test_engines_in_processes_of_their_own_are_refused(
    run: Run, cloud: FakeCloud, home: Path, echo_model: Path
) -> None:
    specs = [
        LLMSpec(model_id=str(echo_model), backend="echo", name=name) for name in ("one", "two")
    ]
    tag = build(specs).tag
    _check_one_line(run("deploy", tag), f"{tag} has 3 services that talk over Unix sockets")


@pytest.mark.parametrize(
    ("states", "says"),
    [
        (
            ["image-building", "image-build-failed"],
            "its image could not be built: no space (builder-0).",
        ),
        (
            ["deploying", "failed"],
            "did not come up, it failed: no space (builder-0). It stays there: see http",
        ),
        (["unhealthy"], "did not come up, it is unhealthy: no space"),
        (["terminated"], "did not come up, it was terminated: no space"),
    ],
)
def test_a_failed_rollout_is_one_line_with_its_reason(
    run: Run, cloud: FakeCloud, built: BuildResult, states: list[str], says: str
) -> None:
    cloud.rollout, cloud.pods = states, [("builder-0", "no\nspace")]
    result = run("deploy", built.tag)
    _check_one_line(result, says, progress=True)
    assert "`bentoml deployment terminate parrot` stops it." in result.stderr
    assert f"parrot is {states[-1]}." in result.stderr


def test_a_reason_that_does_not_come_is_not_waited_for(
    run: Run, cloud: FakeCloud, built: BuildResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openllm.bento.cloud.rollout.REASON_SECONDS", 0.2)
    cloud.rollout, cloud.mute_pods = ["failed"], True
    _check_one_line(
        run("deploy", built.tag), "it failed, and BentoCloud gives no reason.", progress=True
    )


def test_a_rollout_that_takes_too_long_is_one_line(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    cloud.rollout = ["deploying"]
    result = run("deploy", built.tag, "--timeout", "1.5")
    _check_one_line(
        result,
        "parrot was not ready within 1.5 seconds, it is deploying. It stays there",
        progress=True,
    )


def test_answers_that_fail_meanwhile_are_waited_out(
    run: Run, cloud: FakeCloud, built: BuildResult
) -> None:
    assert run("deploy", built.tag).exit_code == 0
    cloud.rollout = ["deploying", "running"]
    result = run("deploy", built.tag, "--no-wait")
    assert result.exit_code == 0
    cloud.refuse("GET", "/api/v2/deployments/bird", 503, "busy", times=0)
    assert run("deploy", built.tag, "--name", "bird", "--no-wait").exit_code == 0
    assert _waited(cloud, failing=2) == "running"
    with pytest.raises(Exception, match=r"could not look at bird: busy\. It stays there"):
        _waited(cloud, failing=3)


def _waited(cloud: FakeCloud, failing: int) -> str:
    import bentoml

    from openllm.bento.cloud.account import connect
    from openllm.bento.cloud.deployment import Deployment
    from openllm.bento.cloud.rollout import wait

    account = connect()
    handle = bentoml.deployment.get("bird", _cloud_client=account.client)
    cloud.refuse("GET", "/api/v2/deployments/bird", 503, "busy", times=failing)
    return wait(
        account, Deployment("bird", handle.admin_console, True, handle), 30, lambda line: None
    ).state


def test_build_push_sends_the_bento(
    run: Run, cloud: FakeCloud, home: Path, echo_model: Path
) -> None:
    args = ["build", str(echo_model), "--backend", "echo", "--push", "-o", "tag"]
    result = run(*args)
    assert result.exit_code == 0, result.stderr
    tag = result.stdout.strip()
    assert cloud.archive("bento", tag).status == "success"
    assert result.stderr.splitlines()[-1] == f"Pushed {tag} to {cloud.url}."
    refused = run(*args, BENTO_CLOUD_API_KEY="wrong")
    _check_one_line(refused, "refuses the API token.")
