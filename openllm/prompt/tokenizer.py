"""The tokenizer of a model: loaded from its directory, and a text turned into token ids."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from openllm.errors import InvalidRequest, MissingDependency, WeightsError
from openllm.prompt.pieces import Pieces
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
_PROBES = ("a", "b c")
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


class TextEncoder:
    """Texts as token ids of one transformers tokenizer; what a text has in common with earlier ones
    is remembered (`Pieces`). Safe to use from several threads.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._fast: Any = getattr(tokenizer, "backend_tokenizer", None)
        if self._fast is not None:
            self._pieces = Pieces(self._fast, self._encode)
            self._around = _added_around(self._encode)

    def ids(self, text: str, add_special_tokens: bool) -> list[int]:
        """The token ids of `text`, as one sequence that is neither cut nor padded. Errors:
        InvalidRequest.
        """
        require_text(text)
        if self._fast is None:
            ids = self._tokenizer.encode(text, add_special_tokens=add_special_tokens)
            return [int(token) for token in ids]
        if not add_special_tokens:
            return self._pieces.ids(text)
        if self._around is None:
            return self._encode([text], add_special_tokens=True)[0]
        before, after = self._around
        return [*before, *self._pieces.ids(text), *after]

    def _encode(self, texts: Sequence[str], add_special_tokens: bool = False) -> list[list[int]]:
        fast = unbounded(self._tokenizer)
        # `encode` holds the interpreter lock (8 s for 4 MB); a batch does not, and is faster on
        # long texts.
        found = fast.encode_batch_fast(list(texts), add_special_tokens=add_special_tokens)
        return [list(encoding.ids) for encoding in found]


def _added_around(encode: Callable[..., list[list[int]]]) -> tuple[list[int], list[int]] | None:
    """The special tokens that are added before and behind a text; None where they are not the same
    for any text.
    """
    inner, whole = encode(_PROBES), encode(_PROBES, add_special_tokens=True)
    found = [_around(*pair) for pair in zip(inner, whole, strict=True)]
    return found[0] if found.count(found[0]) == len(found) else None


def _around(inner: list[int], whole: list[int]) -> tuple[list[int], list[int]] | None:
    """What stands before and behind `inner` in `whole`; None where it is not in there."""
    for at in range(len(whole) - len(inner) + 1):
        if inner and whole[at : at + len(inner)] == inner:
            return whole[:at], whole[at + len(inner) :]
    return None


def require_text(text: str) -> None:
    """Errors: InvalidRequest for half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The prompt holds half of a surrogate pair, which is no text.", param="prompt"
        ) from error


def unbounded(tokenizer: Any) -> Any:
    """The Rust tokenizer behind a transformers one, neither cutting nor padding; None for a
    tokenizer without one.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None and (backend.truncation is not None or backend.padding is not None):
        # left on by whoever used the tokenizer last
        backend.no_truncation()
        backend.no_padding()
    return backend


def lower_case(tokenizer: Any) -> None:
    """Have `tokenizer` lower-case texts first, as `do_lower_case` of sentence-transformers does."""
    from tokenizers import normalizers

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        tokenizer.do_lower_case = True
        return
    own = [] if backend.normalizer is None else [backend.normalizer]
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def longest_token(tokenizer: Any) -> int:
    """Characters of the longest token; 0 where a token may stand for any length of text (unknown
    words).
    """
    model = getattr(getattr(tokenizer, "backend_tokenizer", None), "model", None)
    if type(model).__name__ != "BPE" or (
        getattr(model, "unk_token", None) and not getattr(model, "byte_fallback", 0)
    ):
        return 0
    return max(map(len, tokenizer.get_vocab()), default=0)
