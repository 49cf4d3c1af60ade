"""The tokenizer of a model, loaded from its directory."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from openllm.errors import MissingDependency, WeightsError
from openllm.weights.checkpoint import read_json
from openllm.weights.code import runs_code
from openllm.weights.hub import config_errors

FAST, TEKKEN = "tokenizer.json", "tekken.json"
_TOKENIZER_FILES = (
    FAST,
    TEKKEN,
    "tiktoken.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
)
_LONGEST_LINE = 1024  # bytes in which a first token and its rank stand
_RANKED = re.compile(rb"[A-Za-z0-9+/]+=* \d+\r?\n")
_SENTENCEPIECE = ("SentencePiece's", ("sentencepiece", "protobuf"))
_MODULES = {"protobuf": "google.protobuf"}  # by package, where it is called otherwise
_LONGEST_REASON = 300  # characters of a library's complaint


def load_tokenizer(weights_dir: Path, *, trust_remote_code: bool = False) -> Any:
    """The transformers tokenizer of a local directory; the network is never asked. Errors:
    WeightsError.
    """
    if not weights_dir.is_dir():
        raise WeightsError(f"There is no directory {weights_dir}.", hint="Check the path.")
    found = [name for name in _TOKENIZER_FILES if (weights_dir / name).is_file()]
    if not trust_remote_code and not found and not _needs_no_file(weights_dir):
        raise WeightsError(
            f"{weights_dir} has no tokenizer: tokenizer.json is missing.",
            hint="Save it there with tokenizer.save_pretrained().",
        )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (weights_dir / name).is_file():
            read_json(weights_dir / name)
    if found and FAST not in found:
        require_reader(weights_dir / found[0])
    from transformers import AutoTokenizer

    try:
        if TEKKEN in found and FAST not in found:
            return _of_tekken(weights_dir / TEKKEN)
        return AutoTokenizer.from_pretrained(
            str(weights_dir),
            local_files_only=True,
            trust_remote_code=runs_code(weights_dir, trust_remote_code),
        )
    except config_errors() as error:
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise WeightsError(
            f"{weights_dir / 'config.json'} cannot be used: {reason}.", hint="Fetch it again."
        ) from error
    except Exception as error:
        # The tokenizers library raises bare Exceptions for a tokenizer.json that it cannot read.
        if not isinstance(
            error, OSError | ValueError | LookupError | TypeError | AttributeError | ImportError
        ) and (type(error) is not Exception):
            raise
        reason = " ".join(str(error).split())[:_LONGEST_REASON]
        raise WeightsError(
            f"The tokenizer in {weights_dir} does not load: {reason}", hint="Fetch its files again."
        ) from error


def _needs_no_file(weights_dir: Path) -> bool:
    """Whether the tokenizer's class has no vocabulary to read, as that of bytes (ByT5)."""
    path = weights_dir / "tokenizer_config.json"
    if not path.is_file():
        return False
    import transformers

    name = str(read_json(path).get("tokenizer_class"))
    kind = getattr(transformers, name, None) if name.isidentifier() else None
    return isinstance(kind, type) and getattr(kind, "vocab_files_names", None) == {}


def require_reader(path: Path) -> None:
    """Refuse a vocabulary whose format a package reads that is not installed. Errors:
    MissingDependency.
    """
    if path.suffix != ".model":
        return
    with path.open("rb") as file:
        begin = file.read(_LONGEST_LINE)
    ranked = _RANKED.match(begin) is not None  # a token as base64 and its rank, line by line
    kind, packages = ("tiktoken's", ("tiktoken",)) if ranked else _SENTENCEPIECE
    missing = [name for name in packages if not is_installed(name)]
    if missing:
        raise MissingDependency(
            f"{path.name} is {kind} and there is no tokenizer.json; reading it needs the package"
            f" {missing[0]}.",
            hint=f"Run: pip install {' '.join(packages)}",
        )


def is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(_MODULES.get(package, package)) is not None
    except ModuleNotFoundError:  # google itself, of google.protobuf
        return False


def _of_tekken(path: Path) -> Any:
    """Mistral's vocabulary in a fast form, whether or not mistral-common is installed, whose own
    tokenizer has none.
    """
    from transformers.integrations.mistral import convert_tekken_tokenizer

    return convert_tekken_tokenizer(str(path))
