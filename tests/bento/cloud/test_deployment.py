"""The configuration of a deployment: names, scaling, variables. What is done with it is in
tests/cli/commands/test_deploy.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openllm.bento.build import build
from openllm.bento.cloud.deployment import (
    STRATEGIES,
    Deployable,
    DeployOptions,
    Scaling,
    check_label,
    configure,
    local_deployable,
    read_envs,
)
from openllm.bento.pack.names import dns_label
from openllm.config.spec import LLMSpec
from openllm.errors import DeployError

NAMES = st.from_regex(r"[a-z0-9]([-._a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


@pytest.mark.parametrize(
    ("tag", "name"),
    [("demo:1", "demo"), ("qwen3-0.6b:1", "qwen3-0-6b"), ("3b_chat:1", "llm-3b-chat")],
)
def test_a_deployment_is_called_like_its_bento(tag: str, name: str) -> None:
    assert configure(Deployable(tag, "service", local=True), DeployOptions())["name"] == name


@given(NAMES)
def test_of_every_bento_a_valid_name_can_be_made(name: str) -> None:
    assert check_label(dns_label(name))


@pytest.mark.parametrize(
    ("least", "most", "result"),
    [(None, None, (1, 1)), (0, None, (0, 1)), (2, None, (2, 2)), (None, 3, (1, 3)), (0, 3, (0, 3))],
)
def test_what_is_not_said_of_scaling_fits_to_the_rest(
    least: int | None, most: int | None, result: tuple[int, int]
) -> None:
    scaling = Scaling.read(least, most)
    assert (scaling.least, scaling.most) == result


def test_only_what_was_said_is_configured_and_access_needs_a_token() -> None:
    config = configure(Deployable("demo:1", "demo", local=True), DeployOptions())
    assert config == {
        "name": "demo",
        "bento": "demo:1",
        "access_authorization": True,
        "services": {"demo": {"scaling": {"min_replicas": 1, "max_replicas": 1}}},
    }


def test_everything_that_can_be_said_is_in_bentoml_s_own_schema() -> None:
    from bentoml._internal.cloud.schemas.schemasv2 import CreateDeploymentSchema
    from bentoml._internal.utils.cattr import bentoml_cattr

    options = DeployOptions(
        instance_type="gpu.l4.1",
        envs={"A": "b"},
        secrets=("hub",),
        scaling=Scaling(0, 3),
        strategy="Recreate",
        cold_start_seconds=900,
        labels={"team": "birds"},
    )
    config = configure(Deployable("demo:1", "demo", local=True, concurrency=64), options)
    service = config["services"]["demo"]
    assert service["config_overrides"] == {"traffic": {"concurrency": 64}}
    assert (service["deployment_strategy"], service["cold_start_timeout"]) == ("Recreate", 900)
    read = bentoml_cattr.structure(config, CreateDeploymentSchema)
    again = bentoml_cattr.unstructure(read)
    # a key that the schema does not know would be gone
    assert again == config


def test_concurrency_is_what_the_engine_works_on_at_once(home: Path, echo_model: Path) -> None:
    spec = LLMSpec(model_id=str(echo_model), backend="echo", max_num_seqs=24)
    assert local_deployable(build(spec).tag).concurrency == 24
    left = LLMSpec(model_id=str(echo_model), backend="echo")
    assert local_deployable(build(left).tag).concurrency is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"strategy": "Canary"}, "There is no rollout strategy 'Canary'. Take RollingUpdate,"),
        ({"cold_start_seconds": 0}, "less than a second"),
    ],
)
def test_what_bentocloud_does_not_have_is_one_line(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(DeployError) as error:
        DeployOptions(**fields)
    assert said in str(error.value)


def test_the_strategies_are_bentoml_s() -> None:
    from bentoml._internal.cloud.schemas.modelschemas import DeploymentStrategy

    assert {one.value for one in DeploymentStrategy} == set(STRATEGIES)


def test_values_of_variables_are_kept_as_they_are_and_out_of_sight() -> None:
    envs = read_envs(["A==b=c", "EMPTY=", "LINES=a\nb"])
    assert envs == {"A": "=b=c", "EMPTY": "", "LINES": "a\nb"}
    assert "=b=c" not in repr(DeployOptions(envs=envs))


@pytest.mark.parametrize(
    "text", ["hunter2", "=hunter2", "a b=hunter2", "hunter2-x=1", "$(hunter2)=1"]
)
def test_what_is_no_variable_is_refused_without_being_quoted(text: str) -> None:
    with pytest.raises(DeployError) as caught:
        read_envs([text])
    assert "hunter2" not in str(caught.value)
