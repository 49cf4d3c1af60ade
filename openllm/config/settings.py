"""The only reader of the environment: every variable that openllm knows, typed, with its
meaning.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs

from openllm.config.links import without_links
from openllm.config.variables import PREFIX, SPEC_VARIABLES, Variable
from openllm.discovery import did_you_mean, near, variants
from openllm.errors import ConfigurationError, option


def _setting(
    default: Any, kind: str, meaning: str, *choices: str, name: str = "", secret: bool = False
) -> Any:
    metadata = {
        "kind": kind,
        "meaning": meaning,
        "choices": choices,
        "name": name,
        "secret": secret,
    }
    return attrs.field(default=default, metadata=metadata, repr=not secret)


@attrs.frozen(kw_only=True)
class Settings:
    """How one server process behaves; what the model is stands in LLMSpec. Sizes in bytes, times in
    seconds.
    """

    host: str = _setting(
        "127.0.0.1", "text", "Address the API listens on; 0.0.0.0 for every interface."
    )
    port: int = _setting(3000, "integer", "TCP port of the API.")
    api_workers: int = _setting(1, "integer", "Processes that speak HTTP in front of one engine.")
    api_key: str | None = _setting(
        None, "text", "Key that every request must send as a bearer token.", secret=True
    )
    admin_key: str | None = _setting(
        None, "text", "Key for mounting and removing adapters.", secret=True
    )
    api_keys_file: Path | None = _setting(  # noqa: RUF009  a field descriptor
        None,
        "path",
        "File of further keys: names, hashes, models and limits of each, in YAML.",
    )
    open_metrics: bool = _setting(False, "switch", "Answer requests for metrics without a key.")
    max_body_bytes: int = _setting(32 * 1024**2, "size", "Largest request body.")
    max_header_bytes: int = _setting(64 * 1024, "size", "Largest sum of a request's headers.")
    header_seconds: float = _setting(
        30.0, "number", "Longest time in which the headers of a request come; 0: no limit."
    )
    body_seconds: float = _setting(
        60.0,
        "number",
        "Longest time in which a body comes, and a second more for each 16 KiB; 0: no limit.",
    )
    send_seconds: float = _setting(
        60.0,
        "number",
        "Longest time in which a client reads nothing of an answer that waits for it; 0: no limit.",
    )
    max_json_depth: int = _setting(64, "integer", "Deepest nesting of a JSON body.")
    max_json_values: int = _setting(
        1024**2,
        "integer",
        "Most values of a JSON body; an array or object counts as 8, a key as 16, an escape as 1.",
    )
    max_n: int = _setting(128, "integer", "Most choices of one request.")
    max_stop: int = _setting(16, "integer", "Most stop strings of one request.")
    max_logprobs: int = _setting(20, "integer", "Most alternatives per token in logprobs.")
    max_prompts: int = _setting(1024, "integer", "Most prompts or embedding inputs of one request.")
    max_images: int = _setting(16, "integer", "Most images of one request.")
    max_image_bytes: int = _setting(20 * 1024**2, "size", "Largest file of an image.")
    max_image_pixels: int = _setting(
        32 * 1024**2, "integer", "Most pixels of an image; of all in a request: twice that."
    )
    image_urls: bool = _setting(
        False, "switch", "Fetch images that requests name by http(s) URLs, from public addresses."
    )
    max_requests_per_key: int = _setting(
        0, "integer", "Requests one key may have in flight before 429; 0: no limit."
    )
    max_queued_tokens: int = _setting(
        0, "integer", "Prompt tokens that may wait before 503; 0: no limit."
    )
    max_stored_responses: int = _setting(
        1000, "integer", "Answers and conversations kept for later requests; 0: none."
    )
    max_stored_bytes: int = _setting(
        256 * 1024**2, "size", "Largest sum of the answers and conversations that are kept."
    )
    files_root: Path | None = _setting(  # noqa: RUF009  a field descriptor, not a shared default
        None,
        "path",
        "Directory that keeps files and batches; by default one that goes with the server.",
    )
    max_file_bytes: int = _setting(100 * 1024**2, "size", "Largest file that is kept.")
    max_files_bytes: int = _setting(1024**3, "size", "Largest sum of the files that are kept.")
    max_files: int = _setting(1000, "integer", "Files, and batches, that are kept; 0: none.")
    trust_request_chat_template: bool = _setting(
        False, "switch", "Accept a chat template or its arguments in a request."
    )
    strict_fields: bool = _setting(
        False,
        "switch",
        "Refuse requests with fields that are not acted on, and do not ignore them.",
    )
    any_model: bool = _setting(
        False, "switch", "Answer requests for a model that is not here with the first one."
    )
    adapter_root: Path | None = _setting(  # noqa: RUF009  a field descriptor, not a shared default
        None, "path", "Directory below which adapters may be mounted while serving."
    )
    force: bool = _setting(
        False, "switch", "Load a model that by its plan does not fit the memory."
    )
    drain_seconds: float = _setting(
        30.0, "number", "How long running answers may finish after SIGTERM."
    )
    request_seconds: float = _setting(0.0, "number", "Longest time of one generation; 0: no limit.")
    sse_keepalive: float = _setting(
        15.0, "number", "Seconds of silence after which a stream has a comment; 0: none."
    )
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "list",
        "Names, beside this machine's, by which a server without a key is called; * for any.",
    )
    cors_origins: tuple[str, ...] = _setting(
        (), "list", "Origins that browsers may call from, separated by commas."
    )
    protocols: tuple[str, ...] = _setting(
        (), "list", "Wire formats that are served, separated by commas; by default all."
    )
    ui: bool = _setting(True, "switch", "Serve the chat page at /.")
    log_level: str = _setting(
        "info", "text", "Least severity that is logged.", "debug", "info", "warning", "error"
    )
    log_format: str = _setting(
        "text", "text", "Lines for people, or JSON with a line per request.", "text", "json"
    )
    access_log: bool = _setting(False, "switch", "Log a line per request.")
    endpoint: str = _setting(
        "http://127.0.0.1:3000", "text", "Server that `openllm ask` and `adapters` talk to."
    )
    verify: bool = _setting(False, "switch", "Check a Bento before anything of it is run.")
    verify_key: Path | None = _setting(  # noqa: RUF009  a field descriptor
        None, "path", "Public key that a Bento must be signed for when it is checked."
    )
    sign_password: str | None = _setting(
        None, "text", "Password of the private key that Bentos are signed by.", secret=True
    )
    bentoml_home: Path = _setting(  # noqa: RUF009  a field descriptor, not a shared default
        Path("~/bentoml"), "path", "Where BentoML keeps its stores.", name="BENTOML_HOME"
    )
    visible_devices: str | None = _setting(
        None, "verbatim", "GPUs this process may see; empty: none.", name="CUDA_VISIBLE_DEVICES"
    )

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "bentoml_home", self.bentoml_home.expanduser())
        for name in ("api_keys_file", "files_root", "verify_key"):
            if (path := getattr(self, name)) is not None:
                object.__setattr__(self, name, path.expanduser().absolute())
        self._check_keys()
        if not 0 <= self.port <= 65535:
            raise ConfigurationError(
                f"port must be from 0 to 65535, got {self.port}.", param="port"
            )
        for field in (
            "api_workers",
            "max_body_bytes",
            "max_header_bytes",
            "max_json_depth",
            "max_json_values",
            "max_n",
            "max_prompts",
        ):
            if getattr(self, field) < 1:
                raise ConfigurationError(
                    f"{field} must be at least 1, got {getattr(self, field)}.", param=field
                )
        for field, value in attrs.asdict(self).items():
            if isinstance(value, int | float) and value < 0:
                raise ConfigurationError(f"{field} must not be negative, got {value}.", param=field)
        if self.protocols:
            _check_protocols(self.protocols)

    def _check_keys(self) -> None:
        for name in ("api_key", "admin_key"):
            key = getattr(self, name)
            if key is not None and (not key.isprintable() or key != key.strip()):
                raise ConfigurationError(
                    f"{name} has a line break, a space at an end or a control character, which no"
                    " request can send.",
                    hint="Look at how it was set: a file mostly ends with a line break.",
                    param=name,
                )
        if self.api_key is not None and self.api_key == self.admin_key:
            raise ConfigurationError(
                f"{option('api_key')} and {option('admin_key')} are the same, so every user would"
                " be an administrator.",
                hint="Choose another admin key.",
                param="admin_key",
            )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Defaults overridden by `environ` (default: this process's). An empty variable counts as
        unset.

        Errors: ConfigurationError that names the variable. OPENLLM_* names nobody knows are logged
        as warnings, and so is what Kubernetes has set for a Service of that name.
        """
        environ, links = without_links(os.environ if environ is None else environ)
        if lines := [*links, *unknown_variables(environ)]:
            import logging  # as slow to load as the rest of this module, and rarely needed

            for line in lines:
                logging.getLogger(__name__).warning("%s", line)
        return cls(**_read(setting_variables(), environ))

    def to_env(self) -> dict[str, str]:
        """The variables that make `from_env` give this value again: what differs from the
        defaults.
        """
        return {
            row.name: _written(value)
            for row in setting_variables()
            if (value := getattr(self, row.field)) != getattr(_DEFAULTS, row.field)
            and value is not None
        }


def _check_protocols(names: tuple[str, ...]) -> None:
    known = variants("openllm.protocols")
    for name in names:
        if name not in known:
            raise ConfigurationError(
                f"There is no protocol {name!r}.",
                hint=did_you_mean(name, known) or f"There are {', '.join(known)}.",
                param="protocols",
            )


_DEFAULTS = Settings()


def setting_variables() -> tuple[Variable, ...]:
    """One row per Settings field."""
    return tuple(
        Variable(
            name=field.metadata["name"] or PREFIX + field.name.upper(),
            field=field.name,
            kind=field.metadata["kind"],
            meaning=field.metadata["meaning"],
            default=field.default,
            secret=field.metadata["secret"],
            words=field.metadata["choices"],
        )
        for field in attrs.fields(Settings)
    )


def all_variables() -> tuple[Variable, ...]:
    """The whole table: spec fields first, then settings."""
    return (*SPEC_VARIABLES, *setting_variables())


def spec_layer(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The LLMSpec fields that OPENLLM_<FIELD> variables set: a layer for `resolve_spec`. Errors:
    ConfigurationError.
    """
    return _read(SPEC_VARIABLES, os.environ if environ is None else environ)


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """One warning line per OPENLLM_* variable that is in no table, naming the nearest known one."""
    environ, _ = without_links(os.environ if environ is None else environ)
    known = [row.name for row in all_variables()]
    return [
        _unknown(name, known)
        for name in sorted(environ)
        if name.startswith(PREFIX) and name not in known
    ]


def process_environment() -> dict[str, str]:
    """A copy of this process's whole environment, for those that must hand it on or search it for
    secrets.
    """
    return dict(os.environ)


def restrict_devices(devices: str) -> None:
    """Let this process see these GPUs only; to be called before an engine's packages are
    imported.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = devices


def foreign_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without OPENLLM_* variables: what a child gets beside `Settings.to_env()` and
    its own spec.
    """
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}


def _unknown(name: str, known: list[str]) -> str:
    names = [word.removeprefix(PREFIX) for word in known if word.startswith(PREFIX)]
    found = near(name.removeprefix(PREFIX), names, 1)
    return f"Unknown variable {name}." + (f" Did you mean {PREFIX}{found[0]}?" if found else "")


def _read(rows: tuple[Variable, ...], environ: Mapping[str, str]) -> dict[str, Any]:
    found = {row: environ[row.name] for row in rows if row.name in environ}
    return {
        row.field: row.read(text)
        for row, text in found.items()
        if text.strip() or row.secret or row.kind == "verbatim"
    }


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(value) if isinstance(value, tuple) else str(value)
