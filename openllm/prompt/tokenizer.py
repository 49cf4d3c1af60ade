"""The tokenizer of a model: loaded from its directory, and a text turned into token ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from openllm.errors import InvalidRequest, WeightsError
from openllm.weights.checkpoint import read_json
from openllm.weights.hub import config_errors

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "tekken.json",
)
_LONGEST_REASON = 300  # characters of a library's complaint


def load_tokenizer(weights_dir: Path, *, trust_remote_code: bool = False) -> Any:
    """The transformers tokenizer of a local directory; the network is never asked. Errors:
    WeightsError.
    """
    if not weights_dir.is_dir():
        raise WeightsError(f"There is no directory {weights_dir}.", hint="Check the path.")
    if not trust_remote_code and not any(
        (weights_dir / name).is_file() for name in _TOKENIZER_FILES
    ):
        raise WeightsError(
            f"{weights_dir} has no tokenizer: tokenizer.json is missing.",
            hint="Save it there with tokenizer.save_pretrained().",
        )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        if (weights_dir / name).is_file():
            read_json(weights_dir / name)
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            str(weights_dir), local_files_only=True, trust_remote_code=trust_remote_code
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


def tokenize(tokenizer: Any, text: str, add_special_tokens: bool) -> list[int]:
    """The token ids of `text`, as one sequence that is neither cut nor padded. Errors:
    InvalidRequest.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(
            "The prompt holds half of a surrogate pair, which is no text.", param="prompt"
        ) from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return [
            int(token) for token in tokenizer.encode(text, add_special_tokens=add_special_tokens)
        ]
    if backend.truncation is not None or backend.padding is not None:
        # left on by whoever used the tokenizer last
        backend.no_truncation()
        backend.no_padding()
    # `encode` holds the interpreter lock (8 s for 4 MB); a batch of one does not, and is faster on
    # long texts.
    return list(backend.encode_batch_fast([text], add_special_tokens=add_special_tokens)[0].ids)


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
