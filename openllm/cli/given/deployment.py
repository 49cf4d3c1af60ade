"""The options of a deployment on BentoCloud, read before anything is built or sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from openllm.cli.given.options import F, parse_pairs, with_options
from openllm.cli.output import warn
from openllm.errors import DeployError

if TYPE_CHECKING:
    from openllm.bento.cloud.deployment import DeployOptions

DEFAULT_SECONDS = 3600.0
API_KEY = "OPENLLM_API_KEY"


def cloud_options(function: F) -> F:
    """Name, machine, variables, scaling and access of a deployment."""
    return with_options(
        function,
        click.option(
            "--name", metavar="NAME", help="The deployment's name; by default the Bento's."
        ),
        click.option(
            "--cluster", metavar="NAME", help="The cluster; by default BentoCloud's first."
        ),
        click.option(
            "--instance-type",
            metavar="TYPE",
            help="The machine; by default the cheapest that the Bento fits on.",
        ),
        click.option(
            "--env", "envs", multiple=True, metavar="K=V", help="A variable; may be repeated."
        ),
        click.option(
            "--secret",
            "secrets",
            multiple=True,
            metavar="NAME",
            help="A secret of BentoCloud; may be repeated.",
        ),
        click.option(
            "--scaling-min",
            type=int,
            metavar="N",
            help="Least replicas; 0: none while nobody asks.",
        ),
        click.option(
            "--scaling-max",
            type=int,
            metavar="N",
            help="Most replicas.  [default: the least, or 1]",
        ),
        click.option(
            "--access-token/--no-access-token",
            default=True,
            show_default=True,
            help="Whether requests must carry a token of BentoCloud.",
        ),
    )


def rollout_options(function: F) -> F:
    """How replicas are replaced, how long a first request waits, and labels."""
    return with_options(
        function,
        click.option(
            "--strategy",
            metavar="NAME",
            help=(
                "How replicas are replaced: RollingUpdate, Recreate, RampedSlowRollout or"
                " BestEffortControlledRollout."
            ),
        ),
        click.option(
            "--cold-start-timeout",
            "cold_start_seconds",
            type=int,
            metavar="SECONDS",
            help="How long a request waits for the first replica.",
        ),
        click.option(
            "--label",
            "labels",
            multiple=True,
            callback=parse_pairs,
            metavar="KEY=VALUE",
            help="A label of the deployment; repeatable.",
        ),
    )


def waiting_options(function: F) -> F:
    """--wait and --timeout."""
    wait = click.option(
        "--wait/--no-wait", default=True, show_default=True, help="Whether to wait until it runs."
    )
    seconds = click.option(
        "--timeout",
        type=float,
        default=DEFAULT_SECONDS,
        show_default=f"{DEFAULT_SECONDS:g}",
        metavar="SECONDS",
        help="How long to wait until it runs; no single answer may take longer either.",
    )
    return with_options(function, wait, seconds)


def given_deployment(options: Mapping[str, Any]) -> DeployOptions:
    """What the options say. Errors: DeployError; never with the value of a variable in it."""
    from openllm.bento.cloud.deployment import DeployOptions, Scaling, read_envs

    if not 0 < options["timeout"] < float("inf"):
        raise DeployError(
            f"Nobody can wait {options['timeout']:g} seconds.", hint="Give --timeout more than 0."
        )
    wanted = DeployOptions(
        name=options["name"],
        cluster=options["cluster"],
        instance_type=options["instance_type"],
        envs=read_envs(options["envs"]),
        secrets=tuple(options["secrets"]),
        scaling=Scaling.read(options["scaling_min"], options["scaling_max"]),
        access_token=options["access_token"],
        strategy=options["strategy"],
        cold_start_seconds=options["cold_start_seconds"],
        labels={key: str(value) for key, value in (options["labels"] or {}).items()},
    )
    if wanted.access_token and API_KEY in wanted.envs:
        warn(
            f"{API_KEY} and BentoCloud's token come in one header, and one fits in: consider"
            " --no-access-token."
        )
    return wanted
