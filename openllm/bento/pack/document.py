"""The file beside service.py that says which models the service serves, in JSON or YAML.

It holds one LLMSpec, or several under `llms`; beside the specs it may hold `resources`: the GPUs
that a deployment asks for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from openllm.bento.pack.places import MANY, where
from openllm.bento.pack.resources import Resources
from openllm.config.spec import LLMSpec, refuse_identity, resolve_spec
from openllm.errors import ConfigurationError, ServeError

DOCUMENT = "spec.json"  # beside the service.py of a Bento
RESOURCES = "resources"


def read_document(path: Path) -> tuple[dict[str, Any], ...]:
    """The specs in `path`, one mapping each, not yet merged with anything. Errors:
    ConfigurationError.
    """
    data = _load(path)
    many = data.get(MANY, [{key: value for key, value in data.items() if key != RESOURCES}])
    if not isinstance(many, list) or not many or not all(isinstance(item, dict) for item in many):
        raise ConfigurationError(f"{path.name}: {MANY} must be a list of specs.")
    if MANY in data and not set(data) <= {MANY, RESOURCES}:
        raise ConfigurationError(
            f"{path.name} has {MANY} and other keys; put those into each spec."
        )
    return tuple(many)


def read_resources(path: Path) -> Resources:
    """The `resources` in `path`; without any, nothing is said. Errors: ConfigurationError."""
    return Resources.read(_load(path).get(RESOURCES, {}))


def _load(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except FileNotFoundError:
        raise ConfigurationError(f"There is no {path.name} beside the service.") from None
    except (yaml.YAMLError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(data, dict):
        raise ConfigurationError(
            f"{path.name} must hold a mapping: one LLMSpec, or several under {MANY}."
        )
    return data


def _unreadable(path: Path, error: Exception) -> ConfigurationError:
    """With the line and column, where the parser knows them."""
    kind = "JSON" if path.suffix == ".json" else "YAML"
    said = str(error).splitlines()[0].rstrip(".")
    mark = getattr(error, "problem_mark", None)
    if isinstance(error, json.JSONDecodeError):
        said = f"line {error.lineno}, column {error.colno}: {error.msg}"
    elif mark is not None:
        said = f"{where(mark)}: {getattr(error, 'problem', None) or said}"
    return ConfigurationError(f"{path.name} is not {kind}: {said}.")


def write_document(specs: Sequence[LLMSpec], resources: Resources | None = None) -> str:
    """The text that `read_document` and `read_resources` read back: what differs from the defaults,
    keys sorted.
    """
    plain = [spec.to_dict() for spec in specs]
    said = {RESOURCES: resources.to_dict()} if resources and resources.to_dict() else {}
    data = {**(plain[0] if len(plain) == 1 else {MANY: plain}), **said}
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def merge_document(
    baked: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]
) -> tuple[LLMSpec, ...]:
    """The specs that are in force: `environment` (of `settings.spec_layer`) over what the Bento
    says.

    Errors: ConfigurationError for a key nobody knows, or a variable that cannot apply to several
    models at once.
    """
    refuse_identity(environment, len(baked))
    specs = tuple(resolve_spec(environment, item) for item in baked)
    served = [spec.served_name for spec in specs]
    if twice := sorted({name for name in served if served.count(name) > 1}):
        raise ConfigurationError(
            f"Two models are called {twice[0]!r}.", hint="Give one of them another name."
        )
    return specs


def bento_document(tag: str) -> Path:
    """The spec file of a Bento of the store. Errors: ServeError."""
    from openllm.bento.pack.store import find_bento  # with bentoml, which a recipe does not need

    project = find_bento(tag)[1] / "src"
    document = next(
        (path for name in (DOCUMENT, "bentos/*.yaml") for path in sorted(project.glob(name))), None
    )
    if document is None:
        raise ServeError(
            f"The Bento {tag} was not built by openllm.", hint=f"Run: bentoml serve {tag}"
        )
    return document
