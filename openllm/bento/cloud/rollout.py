"""Waiting for a deployment: each state it goes through is said, and one that cannot become well is
an error.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Mapping

import attrs
import httpx
from bentoml.exceptions import BentoMLException
from cattrs.errors import BaseValidationError
from httpx_ws import HTTPXWSException

from openllm.bento.cloud.account import Account, conversation
from openllm.bento.cloud.deployment import Deployment
from openllm.bento.cloud.push import Say
from openllm.errors import DeployError

READY = ("running", "scaled-to-zero")
FAILED: Mapping[str, str] = {
    "failed": "it failed",
    "image-build-failed": "its image could not be built",
    "unhealthy": "it is unhealthy",
    "terminating": "somebody terminates it",
    "terminated": "it was terminated",
}
POLL_SECONDS = 3.0
REASON_SECONDS = 10.0  # that asking for a reason may take
PATIENCE = 3  # failing answers one after the other before the waiting ends
_LASTING = ("401", "403", "404")  # codes that do not pass by themselves, so are not waited out


@attrs.frozen
class DeploymentStatus:
    """How a deployment is, and where it answers."""

    state: str
    urls: tuple[str, ...]


def look(account: Account, deployment: Deployment, *, again: bool = True) -> DeploymentStatus:
    """How it is now; `again` False: how it was when the server answered last. Errors:
    DeployError.
    """
    with conversation(account, f"look at {deployment.name}"):
        status = deployment.handle.get_status(refetch=again).status
        urls = deployment.handle.to_dict().get("endpoint_urls") or ()
    return DeploymentStatus(status, tuple(urls))


def wait(account: Account, deployment: Deployment, seconds: float, say: Say) -> DeploymentStatus:
    """Return once it runs. Errors: DeployError when the rollout fails, or takes longer than
    `seconds`.
    """
    end = time.monotonic() + seconds
    before, failures = "", 0
    while True:
        try:
            found = look(account, deployment)
            failures = 0
        except DeployError as error:
            failures += 1
            if failures == PATIENCE or error.code in _LASTING or time.monotonic() >= end:
                raise DeployError(error.message, hint=_left(deployment), code=error.code) from None
            found = DeploymentStatus(before, ())
        if found.state != before:
            before = found.state
            say(f"{deployment.name} is {before}.")
        if before in READY:
            return found
        if before in FAILED:
            reason = _reason(account, deployment)
            because = f": {reason}" if reason else ", and BentoCloud gives no reason"
            raise DeployError(
                f"{deployment.name} did not come up, {FAILED[before]}{because}.",
                hint=_left(deployment),
            )
        if time.monotonic() >= end:
            raise DeployError(
                f"{deployment.name} was not ready within {seconds:g} seconds, it is"
                f" {before or 'not known how'}.",
                hint=_left(deployment),
            )
        time.sleep(min(POLL_SECONDS, max(0.0, end - time.monotonic())))


def _left(deployment: Deployment) -> str:
    return (
        f"It stays there: see {deployment.console} or `bentoml deployment get {deployment.name}`; "
        f"`bentoml deployment terminate {deployment.name}` stops it."
    )


def _reason(account: Account, deployment: Deployment) -> str:
    """What each pod that is not ready says of itself; empty when they say nothing, or not soon: the
    WebSocket they come by has no timeout. What fails here hides no failure, for one is being told.
    """
    found: list[str] = []

    def ask_pods() -> None:
        cluster, v2 = deployment.handle.cluster, account.client.client.v2
        with contextlib.suppress(
            BentoMLException, httpx.HTTPError, HTTPXWSException, BaseValidationError, ValueError
        ):
            pods = v2.list_deployment_pods(deployment.name, cluster)
            found.extend(
                f"{pod.pod_status.reason} ({pod.name})"
                for pod in pods
                if not pod.status.ready and pod.pod_status.reason
            )

    thread = threading.Thread(target=ask_pods, daemon=True)
    thread.start()
    thread.join(REASON_SECONDS)
    return account.quote(found[0]) if found else ""
