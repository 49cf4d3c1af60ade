"""The deployment behind `openllm.ray.app`: each replica is openllm's HTTP server around an engine,
in a process that Serve starts, watches, drains and counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from openllm.errors import MissingDependency
from openllm.ray.plan import make_plan

if TYPE_CHECKING:
    from ray.serve import Application


def build(args: Mapping[str, Any]) -> Application:
    """A Serve application of one model. Its replicas speak all protocols, stream, and refuse more
    than they can hold; one whose engine dies is replaced. See `make_plan` for the arguments.
    Errors: ConfigurationError, MissingDependency.
    """
    try:
        from ray import serve
    except ImportError:
        raise MissingDependency(
            "Ray Serve is not installed.", hint="Run: pip install 'ray[serve]'"
        ) from None
    plan = make_plan(args)
    spec = plan.spec.to_json()

    def make() -> Any:
        from openllm.ray.replica import make_server

        return make_server(spec)

    class Deployed:
        """What Serve makes an actor of; the HTTP application beside it is made where it runs."""

        def check_health(self) -> None:
            """Called by Serve now and then. Errors: EngineDead, which has it replaced."""
            from openllm.ray.replica import require_alive

            require_alive()

    ingress = serve.ingress(make)(Deployed)
    deployment = serve.deployment(name=_name(plan.spec.served_name), **plan.options())(ingress)
    found: Application = deployment.bind()
    return found


def _name(served: str) -> str:
    """A name of a deployment, in which Serve takes no slash and no `#`."""
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in served)
