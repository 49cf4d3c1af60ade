"""Deploy a Bento, recipe or model on BentoCloud."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import click

from openllm.cli.given.deployment import (
    cloud_options,
    given_deployment,
    rollout_options,
    waiting_options,
)
from openllm.cli.given.options import format_option
from openllm.cli.given.specs import is_bento, model_argument, read_resources, read_specs
from openllm.cli.output import log_level, note, print_json, print_table, warn
from openllm.config.names import is_tag
from openllm.config.settings import Settings
from openllm.config.sizes import readable_size
from openllm.errors import DeployError, WeightsError
from openllm.weights.store import find_tag

if TYPE_CHECKING:
    from openllm.bento.cloud.account import Account
    from openllm.bento.cloud.deployment import DeployOptions
    from openllm.bento.cloud.instances import InstanceType


@attrs.frozen
class Request:
    """What the command line asks for."""

    model: str | None
    recipe: Path | None
    options: DeployOptions
    wait: bool
    seconds: float
    output: str
    settings: Settings


@click.command()
@model_argument
@cloud_options
@rollout_options
@waiting_options
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print the whole configuration, values of variables too; send nothing.",
)
@click.option(
    "--instance-types",
    is_flag=True,
    help="List the machines with prices, and which of them fit; then exit.",
)
@format_option("text", "json")
def command(
    model: str | None,
    recipe: Path | None,
    dry_run: bool,
    instance_types: bool,
    output: str,
    **options: Any,
) -> None:
    """Push a Bento to BentoCloud, create or update its deployment, wait until it runs, and print
    its URL.

    MODEL is the tag of a Bento, or a recipe or model as `openllm build` takes it, which is built
    first. What the options say replaces all that the deployment of this name had.

    \b
    openllm deploy demo:latest --scaling-min 0 --scaling-max 3
    openllm deploy llama-3.2-1b-instruct --secret huggingface --env OPENLLM_MAX_QUEUE=64
    openllm deploy demo:latest --instance-types
    openllm deploy demo:latest --dry-run
    """
    wanted = given_deployment(options)
    waiting = options["wait"], options["timeout"]
    request = Request(model, recipe, wanted, *waiting, output, Settings.from_env())
    if model is None and recipe is None and not instance_types:
        raise DeployError(
            "Nothing to deploy is named.", hint="Give a Bento's tag, a recipe or a model."
        )
    if instance_types:
        _list_types(request)
    elif dry_run:
        _rehearse(request)
    else:
        _deploy(request)


def _deploy(request: Request) -> None:
    from openllm.bento.cloud.deployment import check_secrets, configure, deploy, find_deployable
    from openllm.bento.cloud.instances import choose
    from openllm.bento.cloud.push import push
    from openllm.bento.cloud.rollout import look, wait

    account = _connect(request)  # before a build that takes long
    bento = find_deployable(_tag(request), account)
    check_secrets(account, request.options)
    config = configure(bento, choose(account, bento, request.options, note))
    if bento.local:
        push(account, bento.tag, note)
    deployment = deploy(account, config, note)
    note(f"{'Created' if deployment.new else 'Updated'} {deployment.name}: {deployment.console}")
    if request.wait:
        status = wait(account, deployment, request.seconds, note)
    else:
        status = look(account, deployment, again=False)
    if request.output == "json":
        print_json(
            {
                "name": deployment.name,
                "bento": bento.tag,
                "new": deployment.new,
                "status": status.state,
                "urls": list(status.urls),
                "console": deployment.console,
            }
        )
        return
    click.echo(f"{deployment.name} serves {bento.tag}: {status.state}.")
    for url in status.urls:
        click.echo(url)


def _rehearse(request: Request) -> None:
    """Print what would be sent, as YAML, which `bentoml deploy -f` reads, or JSON. The network is
    used only for what this machine cannot know.
    """
    from openllm.bento.cloud.deployment import configure, find_deployable
    from openllm.bento.cloud.instances import choose

    account = None
    if request.options.instance_type is None or _is_elsewhere(
        request.model, request.settings.bentoml_home
    ):
        try:
            account = _connect(request)
        except DeployError as error:
            warn(f"{error.message} The instance type is left to BentoCloud.")
    bento = find_deployable(_tag(request), account)
    options = choose(account, bento, request.options, note) if account else request.options
    config = configure(bento, options)
    if request.output == "json":
        print_json(config)
        return
    import yaml

    click.echo(yaml.safe_dump(config, sort_keys=False, allow_unicode=True), nl=False)


def _list_types(request: Request) -> None:
    """The machines, cheapest first; where a Bento is named, whether a replica fits."""
    from openllm.bento.cloud.deployment import find_deployable
    from openllm.bento.cloud.instances import list_instance_types, why_not
    from openllm.bento.inspect import bento_replica, inspect_bento

    account = _connect(request)
    need = None
    if request.model or request.recipe:
        bento = find_deployable(_tag(request), account)
        need = bento_replica(inspect_bento(bento.tag)) if bento.local else None
    kinds = list_instance_types(account, request.options.cluster)
    reasons = [why_not(kind, need) if need is not None else None for kind in kinds]
    if request.output == "json":
        rows = [attrs.asdict(kind) for kind in kinds]
        if need is not None:
            rows = [
                {**row, "fits": reason is None, "reason": reason}
                for row, reason in zip(rows, reasons, strict=True)
            ]
        print_json(rows)
        return
    head: tuple[str, ...] = ("INSTANCE TYPE", "PRICE", "CPU", "MEMORY", "GPUS")
    table = [_cells(kind) for kind in kinds]
    if need is not None:
        fits = (f"no: {reason}" if reason else "yes" for reason in reasons)
        head = (*head, "FITS")
        table = [(*cells, fit) for cells, fit in zip(table, fits, strict=True)]
    print_table(head, table)


def _connect(request: Request) -> Account:
    from openllm.bento.cloud.account import REQUEST_SECONDS, connect

    return connect(min(REQUEST_SECONDS, request.seconds), request.options.envs.values())


def _tag(request: Request) -> str:
    """The Bento that is meant; a recipe or model is made one."""
    settings = request.settings
    model, recipe = request.model, request.recipe
    if (
        model is not None
        and recipe is None
        and (is_bento(model, settings.bentoml_home) or _is_elsewhere(model, settings.bentoml_home))
    ):
        return model
    specs = read_specs(model, recipe, {}, settings)
    note(f"Building a Bento for {', '.join(spec.served_name for spec in specs)} ...")
    from openllm.bento.build import BuildOptions, build
    from openllm.bento.serving.logs import configure_logging

    configure_logging(log_level("info"))
    result = build(specs, BuildOptions(resources=read_resources(model, recipe, {}, settings)))
    note(f"{'Built' if result.new else 'Already built'} {result.tag}.")
    return result.tag


def _is_elsewhere(model: str | None, home: Path) -> bool:
    """Whether `model` is written like a tag, but neither of a Bento nor of a model on this
    machine.
    """
    if model is None or not is_tag(model) or is_bento(model, home):
        return False
    try:
        find_tag(model, home)
    except WeightsError:
        return True
    return False


def _cells(kind: InstanceType) -> tuple[str, ...]:
    memory = readable_size(kind.memory) if kind.memory is not None else "?"
    each = f" of {readable_size(kind.gpu_memory)}" if kind.gpu_memory else ""
    gpus = f"{kind.gpus} {kind.gpu_type}{each}" if kind.gpus else "none"
    return kind.name, kind.price or "?", kind.cpu or "?", memory, gpus
