"""Traces as BentoML's configuration says (`tracing` in `BENTOML_CONFIG`), or OpenTelemetry's own
variables where it names no exporter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from openllm.config.settings import process_environment
from openllm.errors import ConfigurationError
from openllm.http.tracing.provider import missing, tracing_from

if TYPE_CHECKING:
    from openllm.http.tracing.spans import Tracing


def tracing_in_force() -> Tracing | None:
    """Of a worker whose service's configuration has been read. Errors: ConfigurationError,
    MissingDependency.
    """
    from bentoml._internal.configuration.containers import BentoMLContainer
    from bentoml.exceptions import BentoMLException

    kind = BentoMLContainer.tracing.exporter_type.get()
    if not kind:
        return tracing_from(process_environment())
    from bentoml._internal.context import server_context

    from openllm.http.tracing.spans import Tracing

    if server_context.service_name is None:  # set in workers that BentoML has started
        server_context.service_name = "openllm"
    try:
        provider = BentoMLContainer.tracer_provider.get()
    except ImportError:
        raise missing(f"bentoml[tracing-{kind}]") from None
    except BentoMLException as error:
        raise ConfigurationError(f"BentoML's tracing cannot be set up: {error}") from None
    return Tracing(provider, BentoMLContainer.tracing_excluded_urls.get().url_disabled)
