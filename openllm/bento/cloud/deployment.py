"""A Bento as a deployment on BentoCloud: its configuration, whole and exact, and the call that puts
it in force.
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any, Self

import attrs
import bentoml
from bentoml.exceptions import NotFound

from openllm.bento.cloud.account import Account, conversation
from openllm.bento.cloud.push import Say
from openllm.bento.pack.document import bento_document, merge_document, read_document
from openllm.bento.pack.names import LONGEST_LABEL, dns_label
from openllm.bento.pack.store import find_bento
from openllm.errors import ConfigurationError, DeployError, ServeError, option

# RFC 1035; Yatai, BentoCloud's open ancestor, asks for it.
_LABEL = re.compile(r"[a-z](?:[-a-z0-9]*[a-z0-9])?")
# As BentoML's DeploymentStrategy has them.
STRATEGIES = ("RollingUpdate", "Recreate", "RampedSlowRollout", "BestEffortControlledRollout")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SECRET = re.compile(r"[A-Za-z0-9](?:[-._A-Za-z0-9]*[A-Za-z0-9])?")


@attrs.frozen
class Scaling:
    """How many replicas: BentoCloud stays within these. 0 at least: none while nobody asks."""

    least: int = 1
    most: int = 1

    def __attrs_post_init__(self) -> None:
        if self.least < 0 or self.most < 0:
            raise DeployError(
                "The number of replicas cannot be negative.",
                hint=f"{option('scaling_min')} may be 0.",
            )
        if self.most == 0:
            raise DeployError(
                "At most 0 replicas would serve nobody.",
                hint=f"Give {option('scaling_max', 1)} or more.",
            )
        if self.least > self.most:
            raise DeployError(
                f"At least {self.least} and at most {self.most} replicas cannot be.",
                hint=f"Give {option('scaling_min')} <= {option('scaling_max')}.",
            )

    @classmethod
    def read(cls, least: int | None, most: int | None) -> Self:
        """What was said, the other one being 1 or what fits to it. Errors: DeployError."""
        if least is None:
            return cls(1, 1 if most is None else most)
        return cls(least, max(least, 1) if most is None else most)


@attrs.frozen
class DeployOptions:
    """How a Bento is deployed. `name` None: the Bento's. `instance_type` None: BentoCloud's
    default.
    """

    name: str | None = None
    cluster: str | None = None
    instance_type: str | None = None
    envs: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    secrets: tuple[str, ...] = ()
    scaling: Scaling = attrs.field(factory=Scaling)
    access_token: bool = True
    strategy: str | None = None  # one of STRATEGIES; None: BentoCloud's default
    cold_start_seconds: int | None = None  # that a first request waits for a replica
    labels: Mapping[str, str] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        if self.strategy is not None and self.strategy not in STRATEGIES:
            raise DeployError(
                f"There is no rollout strategy {self.strategy[:40]!r}.",
                hint=f"Take {', '.join(STRATEGIES)}.",
            )
        if self.cold_start_seconds is not None and self.cold_start_seconds < 1:
            raise DeployError("A first request cannot wait less than a second for a replica.")
        if self.name is not None:
            check_label(self.name)
        for at, secret in enumerate(self.secrets, 1):
            if not _SECRET.fullmatch(secret):  # somebody may have given its value
                raise DeployError(
                    f"Secret {at} cannot be a secret's name.",
                    hint="`bentoml secret list` shows them.",
                )


@attrs.frozen
class Deployable:
    """The Bento to deploy: its full tag and its service; `local`: it is in this machine's store."""

    tag: str
    service: str
    local: bool
    concurrency: int | None = None  # requests that one replica works on at once, where that is said


@attrs.frozen
class Deployment:
    """A deployment as the server answered; `handle` is BentoML's."""

    name: str
    console: str
    new: bool
    handle: Any = attrs.field(repr=False)


def check_label(name: str) -> str:
    """`name` if a deployment may be called so. Errors: DeployError."""
    if len(name) > LONGEST_LABEL or not _LABEL.fullmatch(name):
        raise DeployError(
            f"A deployment cannot be called {name[:80]!r}.",
            hint=f"Take up to {LONGEST_LABEL} lower-case letters, digits and -, a letter first.",
        )
    return name


def read_envs(texts: Sequence[str]) -> dict[str, str]:
    """`K=V` texts as variables. Errors: DeployError, which tells no text: it may be a value."""
    found: dict[str, str] = {}
    for at, text in enumerate(texts, 1):
        name, equals, value = text.partition("=")
        if not equals or not _VARIABLE.fullmatch(name):
            raise DeployError(
                f"{option('env')} number {at} is not K=V.",
                hint=f"Write {option('env')} NAME=value, with letters, digits, _.",
            )
        if name in found:
            raise DeployError(f"{option('env')} {name} is given twice.", hint="Give it once.")
        found[name] = value
    return found


def find_deployable(tag: str, account: Account | None) -> Deployable:
    """A Bento of the local store, or else of BentoCloud. Errors: DeployError."""
    with contextlib.suppress(ServeError):
        return local_deployable(tag)
    if account is None:
        raise DeployError(
            f"There is no Bento {tag!r} here.", hint="`bentoml list` shows what is there."
        )
    name, _, version = tag.partition(":")
    with conversation(account, f"look for {tag}"):
        found = account.client.client.v1.get_bento(name, version)
    if found is None or found.manifest is None or found.upload_status != "success":
        raise DeployError(
            f"There is no Bento {tag!r}, neither here nor on BentoCloud.",
            hint="`bentoml list` shows what is here.",
        )
    return _checked(
        Deployable(tag, found.manifest.entry_service, local=False), len(found.manifest.services)
    )


def local_deployable(tag: str) -> Deployable:
    """A Bento of the local store. Errors: ServeError for no such Bento, DeployError for one that
    cannot be deployed.
    """
    full, _ = find_bento(tag)
    info = bentoml.bentos.get(full).info
    found = Deployable(full, info.entry_service, local=True, concurrency=_concurrency(full))
    return _checked(found, len(info.services))


def _concurrency(tag: str) -> int | None:
    """How many requests the engines of a Bento work on at once, as its specs say; None where one
    leaves it to its engine, or the Bento is not openllm's.
    """
    try:
        specs = merge_document(read_document(bento_document(tag)), {})
    except (ConfigurationError, ServeError):
        return None
    said = [spec.max_num_seqs for spec in specs]
    return sum(count for count in said if count) if all(said) else None


def _checked(bento: Deployable, services: int) -> Deployable:
    if services > 1:
        raise DeployError(
            f"{bento.tag} has {services} services that talk over Unix sockets; BentoCloud gives"
            " each its own machine.",
            hint="Build a Bento per model, with OPENLLM_API_WORKERS unset.",
        )
    return bento


def configure(bento: Deployable, options: DeployOptions) -> dict[str, Any]:
    """The whole configuration, as `bentoml.deployment` and `bentoml deploy -f` read it."""
    service: dict[str, Any] = {
        "scaling": {"min_replicas": options.scaling.least, "max_replicas": options.scaling.most}
    }
    if options.instance_type is not None:
        service["instance_type"] = options.instance_type
    if options.strategy is not None:
        service["deployment_strategy"] = options.strategy
    if options.cold_start_seconds is not None:
        service["cold_start_timeout"] = options.cold_start_seconds
    if bento.concurrency is not None:
        # BentoCloud's autoscaler aims at so many for each replica.
        service["config_overrides"] = {"traffic": {"concurrency": bento.concurrency}}
    found: dict[str, Any] = {
        "name": options.name or dns_label(bento.tag.partition(":")[0]),
        "bento": bento.tag,
        "cluster": options.cluster,
        "access_authorization": options.access_token,
        "envs": [{"name": name, "value": value} for name, value in options.envs.items()],
        "secrets": list(options.secrets),
        "labels": [{"key": key, "value": value} for key, value in options.labels.items()],
        "services": {bento.service: service},
    }
    return {key: value for key, value in found.items() if value not in (None, [])}


def deploy(account: Account, config: Mapping[str, Any], say: Say) -> Deployment:
    """Create the deployment, or replace the configuration of the one of this name; does not wait
    for its rollout.

    The Bento and the secrets are on BentoCloud already. Errors: DeployError.
    """
    name, cluster = config["name"], config.get("cluster")
    wanted = dict(config)
    with conversation(account, f"look for the deployment {name}"):
        try:
            before = bentoml.deployment.get(name, cluster, _cloud_client=account.client)
        except NotFound:
            before = None
    if before is not None:
        # `apply` refuses a deployment whose cluster is not named.
        wanted["cluster"] = before.cluster
        _tell_what_goes(before, config, say)
    action = "create" if before is None else "update"
    # BentoML looks again whether the Bento is there, and draws a panel on stdout about it.
    hidden = contextlib.redirect_stdout(io.StringIO())
    with conversation(account, f"{action} {name}"), hidden:
        handle = bentoml.deployment.apply(config_dict=wanted, _cloud_client=account.client)
    return Deployment(handle.name, handle.admin_console, before is None, handle)


def check_secrets(account: Account, options: DeployOptions) -> None:
    """That each of them is there. Errors: DeployError."""
    for name in options.secrets:
        try:
            with conversation(account, f"look for the secret {name}"):
                account.client.client.v1.get_secret(name, options.cluster)
        except DeployError as error:
            if error.code != "404":
                raise
            hint = "`bentoml secret create` makes one, `bentoml secret list` shows them."
            raise DeployError(f"BentoCloud has no secret {name!r}.", hint=hint) from None


def _tell_what_goes(before: Any, config: Mapping[str, Any], say: Say) -> None:
    """Variables and secrets that the deployment had and will not have: by name."""
    had = before.get_config(refetch=False)
    if had is None:
        return
    gone = sorted(
        {item.name for item in had.envs or ()} - {item["name"] for item in config.get("envs", ())}
    )
    gone += sorted(set(had.secrets or ()) - set(config.get("secrets", ())))
    if gone:
        say(f"{before.name} had these, and they are not given any more: {', '.join(gone)}.")
