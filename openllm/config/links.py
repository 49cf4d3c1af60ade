"""Variables that Kubernetes sets for the Services of a namespace: one called `openllm` brings
OPENLLM_PORT, and means an address by it.

kubernetes.io/docs/concepts/services-networking/service/#environment-variables lists them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from openllm.config.variables import PREFIX

_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://.+:[0-9]+")
_NAME = re.compile(
    rf"{PREFIX}(?:[A-Z0-9_]+_)?"
    r"(?:SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)


def is_link(name: str, value: str) -> bool:
    """Whether `name` with this value is such a variable, whatever the Service's name adds to it."""
    if name.startswith(PREFIX) and name.endswith("PORT") and _ADDRESS.fullmatch(value):
        return True
    return _NAME.fullmatch(name) is not None


def without_links(environ: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """`environ` without them, and a line for each that would have been taken for a setting."""
    links = {name: value for name, value in environ.items() if is_link(name, value)}
    kept = {name: value for name, value in environ.items() if name not in links}
    lines = [
        f"{name}={value} is Kubernetes' address of a Service and is ignored; set"
        " enableServiceLinks: false in the pod, and it is not there."
        for name, value in sorted(links.items())
        if name == f"{PREFIX}PORT"
    ]
    return kept, lines
