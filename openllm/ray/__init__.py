"""A recipe as an application of Ray Serve: its replicas on a cluster, as many as are asked for.

To add an option of the application: a field of `plan.Autoscaling` with how its text is read, by
the name that Serve has for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ray.serve import Application


def app(args: dict[str, Any]) -> Application:
    """The application that `serve run openllm.ray:app model=demo` runs; see
    `openllm.ray.application.build`. Errors: ConfigurationError, MissingDependency.
    """
    from openllm.ray.application import build

    return build(args)
