"""Code that a model's directory brings along (`auto_map`): whether anything of it has to be run.

transformers has classes of its own for most models that once came with code. Where it has, those
are loaded and the directory's code is neither read nor run, trusted or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from openllm.errors import WeightsError, option
from openllm.weights.checkpoint import CONFIG, read_json

TOKENIZER = "tokenizer_config.json"
PROCESSORS = ("processor_config.json", "preprocessor_config.json")
_CLASS_NAMES = ("processor_class", "image_processor_type", "feature_extractor_type")


def refuse_code(directory: Path) -> None:
    """Refuse a directory that works only with code of its own. Errors: WeightsError."""
    path = needed_code(directory)
    if path is not None:
        raise WeightsError(
            f"{path} names code of the model's own (auto_map), which is not run; transformers has"
            " no class for it.",
            hint=f"Pass {option('trust_remote_code')} if you trust its authors.",
        )


def runs_code(directory: Path, trusted: bool) -> bool:
    """Whether the directory's code is to be run: it is trusted, and nothing else will do. Errors:
    WeightsError.
    """
    return trusted and needed_code(directory) is not None


def needed_code(directory: Path) -> Path | None:
    """The first file that names code for which transformers has no class. Errors: WeightsError."""
    checks: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
        CONFIG: _has_model,
        TOKENIZER: _has_tokenizer,
        **dict.fromkeys(PROCESSORS, _has_processor),
    }
    config = read_json(directory / CONFIG) if (directory / CONFIG).is_file() else {}
    for name, has_class in checks.items():
        path = directory / name
        said = read_json(path) if path.is_file() else {}
        if said.get("auto_map") and not has_class(said, config):
            return path
    return None


def _has_model(said: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    if said.get("model_type") not in CONFIG_MAPPING_NAMES:
        return False
    names = said.get("architectures") or []
    return isinstance(names, list) and all(_is_class(name) for name in names)


def _has_tokenizer(said: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    from transformers.models.auto.tokenization_auto import TOKENIZER_MAPPING_NAMES

    name = str(said.get("tokenizer_class") or config.get("tokenizer_class") or "")
    own = name.removesuffix("Fast")
    if own:
        return _is_class(own) or _is_class(f"{own}Fast")
    return config.get("model_type") in TOKENIZER_MAPPING_NAMES


def _has_processor(said: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Texts need none, so it is enough that the model itself is known."""
    names = [said[name] for name in _CLASS_NAMES if said.get(name)]
    return (bool(names) and all(map(_is_class, names))) or _has_model(config, config)


def _is_class(name: object) -> bool:
    import transformers

    return name in dir(transformers)
