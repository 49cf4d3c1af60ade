"""Where traces go: to whatever the process has already, or what OpenTelemetry's own variables say.

`OTEL_SDK_DISABLED`, `OTEL_TRACES_EXPORTER` and `OTEL_EXPORTER_OTLP_*` are read here and by the
exporters, the rest (`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`,
`OTEL_BSP_*`, `OTEL_PROPAGATORS`) by OpenTelemetry's SDK.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

import openllm
from openllm.errors import ConfigurationError, MissingDependency

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider

    from openllm.http.tracing.spans import Tracing

log = logging.getLogger(__name__)

PACKAGE = "opentelemetry-exporter-otlp-proto-http"  # what exports by default
_EXPORTERS = "opentelemetry_traces_exporter"  # the group of entry points
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_EXCLUDED = ("OTEL_PYTHON_ASGI_EXCLUDED_URLS", "OTEL_PYTHON_EXCLUDED_URLS")
_PACKAGES = {
    "otlp_proto_http": PACKAGE,
    "otlp_proto_grpc": "opentelemetry-exporter-otlp-proto-grpc",
}

Environment = Mapping[str, str]


def tracing_from(environment: Environment) -> Tracing | None:
    """Tracing as the variables say; None where they ask for none. Errors: ConfigurationError,
    MissingDependency.
    """
    if _disabled(environment):
        return None
    if (provider := _provider_of_the_process()) is not None:
        return _tracing(provider, environment, owned=False)
    names = _usable(environment)
    for name in sorted({*exporter_names(environment)} - {*names}):
        log.warning(
            "%s is set, and no traces are sent: %s is not installed.",
            _ENDPOINTS[1],
            _PACKAGES[name],
        )
    if not names:
        return None
    exporters = [_exporter(name) for name in names]
    return _tracing(_make_provider(exporters), environment, owned=True)


def check_exporters(environment: Environment) -> None:
    """Before any process is started that would export. Errors: those of `tracing_from`."""
    if not _disabled(environment):
        for name in _usable(environment):
            _find(name)


def _disabled(environment: Environment) -> bool:
    return environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def _usable(environment: Environment) -> list[str]:
    """The exporters asked for. An address for signals of any kind, which platforms give to all that
    they run, asks for traces only where they can be sent.
    """
    names = exporter_names(environment)
    if environment.get("OTEL_TRACES_EXPORTER") or environment.get(_ENDPOINTS[0]):
        return names
    return [name for name in names if any(entry_points(group=_EXPORTERS, name=name))]


def exporter_names(environment: Environment) -> list[str]:
    """The entry points of the exporters that the variables ask for: OTLP's, where they say an
    address and nothing else.
    """
    default = "otlp" if _first(environment, _ENDPOINTS) else ""
    asked = (environment.get("OTEL_TRACES_EXPORTER") or default).split(",")
    names = [name for text in asked if (name := text.strip()) not in ("", "none")]
    protocol = _first(environment, _PROTOCOLS)
    otlp = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    return [otlp if name == "otlp" else name for name in names]


def missing(package: str) -> MissingDependency:
    """What is said where an exporter is not installed."""
    return MissingDependency(
        f"Traces cannot be sent: {package} is not installed.", hint=f"Run: pip install {package}"
    )


def _provider_of_the_process() -> TracerProvider | None:
    """What somebody has set before, such as `opentelemetry-instrument`."""
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider) else provider


def _find(name: str) -> EntryPoint:
    found = next(iter(entry_points(group=_EXPORTERS, name=name)), None)
    if found is None and name in _PACKAGES:
        raise missing(_PACKAGES[name])
    if found is None:
        known = sorted({*(one.name for one in entry_points(group=_EXPORTERS)), "otlp", "none"})
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER is {name!r}, which is not installed.",
            hint=f"There are {', '.join(known)}.",
        )
    return found


def _exporter(name: str) -> SpanExporter:
    make: Callable[[], SpanExporter] = _find(name).load()
    return make()


def _make_provider(exporters: list[SpanExporter]) -> TracerProvider:
    from opentelemetry.sdk.resources import (
        SERVICE_NAME,
        SERVICE_VERSION,
        OTELResourceDetector,
        Resource,
    )
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    own = Resource.create({SERVICE_NAME: "openllm", SERVICE_VERSION: openllm.__version__})
    resource = own.merge(OTELResourceDetector().detect())  # what the operator says comes last
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def _tracing(provider: TracerProvider, environment: Environment, *, owned: bool) -> Tracing:
    from openllm.http.tracing.spans import Tracing

    patterns = [text.strip() for text in (_first(environment, _EXCLUDED) or "").split(",")]
    try:
        excluded = [re.compile(pattern) for pattern in patterns if pattern]
    except re.error as error:
        raise ConfigurationError(
            f"{_EXCLUDED[1]} has a pattern that is no regular expression: {error}.",
            hint="Write patterns for paths, separated by commas.",
        ) from None
    return Tracing(provider, lambda path: any(one.search(path) for one in excluded), owned=owned)


def _first(environment: Environment, names: tuple[str, ...]) -> str | None:
    """The first of these variables that says something."""
    return next((environment[name] for name in names if environment.get(name)), None)
