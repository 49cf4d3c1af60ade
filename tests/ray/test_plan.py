"""What the arguments of a Serve application come to, without Ray."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from openllm.errors import ConfigurationError
from openllm.ray.plan import make_plan
from tests.serving import write_echo_model


def test_a_recipe_says_what_a_replica_is_and_how_many_there_are() -> None:
    plan = make_plan({"model": "demo", "replicas": "3"})
    assert (plan.spec.model_id, plan.spec.family, plan.spec.replicas) == ("demo", "demo", 1)
    options = plan.options()
    assert options["num_replicas"] == 3
    assert options["ray_actor_options"] == {"num_cpus": 1, "num_gpus": 0}
    assert options["max_ongoing_requests"] == 256 + 1024
    assert options["graceful_shutdown_timeout_s"] == 30.0


def test_arguments_are_texts_or_values(tmp_path: Path) -> None:
    model = str(write_echo_model(tmp_path / "parrot"))
    texts = make_plan({"model": model, "max_model_len": "64", "engine_args": '{"delay": 1}'})
    values = make_plan({"model": model, "max_model_len": 64, "engine_args": {"delay": 1}})
    assert texts.spec == values.spec


def test_a_recipe_of_ones_own(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("model_id: demo\nname: mine\nreplicas: 2\n")
    plan = make_plan({"file": str(recipe), "name": "ours"})
    assert (plan.spec.served_name, plan.replicas, plan.gpus) == ("ours", 2, 0)
    assert make_plan({"file": str(recipe), "gpus": "2"}).gpus == 2
    assert make_plan({"model": "llama-3.3-70b-instruct"}).gpus == 4


def test_with_a_most_there_are_as_many_as_needed() -> None:
    plan = make_plan({"model": "demo", "max_replicas": "8", "target_ongoing_requests": "16"})
    options = plan.options()
    assert "num_replicas" not in options
    assert options["autoscaling_config"] == {
        "min_replicas": 1,
        "max_replicas": 8,
        "target_ongoing_requests": 16.0,
    }


@pytest.mark.parametrize(
    ("fields", "gpus", "bundles"),
    [
        ({"backend": "vllm"}, 1, None),
        ({"backend": "vllm", "tensor_parallel_size": 4}, 4, None),
        ({"backend": "vllm", "device": "cpu"}, 0, None),
        (
            {"backend": "vllm", "pipeline_parallel_size": 2, "distributed_executor": "ray"},
            0,
            [{"CPU": 1.0}, {"GPU": 1.0}, {"GPU": 1.0}],
        ),
    ],
)
def test_a_replica_is_put_where_its_gpus_are(
    fields: dict[str, Any], gpus: int, bundles: list[dict[str, float]] | None
) -> None:
    options = make_plan({"model": "llama", "model_id": "a/b", **fields}).options()
    assert options["ray_actor_options"]["num_gpus"] == gpus
    assert options.get("placement_group_bundles") == bundles


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ({"model": "demo", "max_replica": "2"}, "max_replicas"),
        ({"model": "demo", "max_replicas": "two"}, "max_replicas: 'two' is not a whole number"),
        ({"model": "demo", "routing": "random"}, "ROUTING: 'random' is not one of"),
        ({"model": "chat-and-embedding"}, "2 models, and an application serves one"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(args: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        make_plan(args)
