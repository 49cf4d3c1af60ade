"""The Hugging Face Hub: a repository's files as a local directory, downloaded or there already."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openllm.config.sizes import readable_size
from openllm.errors import WeightsError
from openllm.weights.downloads import Download, downloading
from openllm.weights.fetching.addresses import Addresses
from openllm.weights.fetching.faults import patience, retried
from openllm.weights.fetching.leftovers import sweep
from openllm.weights.fetching.parts import (
    DATA,
    LEAST,
    NoRanges,
    Source,
    Transfer,
    fetch_files,
)
from openllm.weights.fetching.turns import turn

if TYPE_CHECKING:
    from huggingface_hub import DryRunFileInfo

logger = logging.getLogger(__name__)

# What is fetched of a model: weights that run no code, configuration, tokenizer, template, licence.
SAFE_FILES = (
    "*.safetensors",
    "*.json",
    "*.txt",
    "*.model",
    "*.jinja",
    "*.tiktoken",
    "README.md",
    "LICENSE*",
    "NOTICE*",
)
# Second copies of the weights, in other programs' layouts.
_SECOND_COPIES = (
    "consolidated*",
    "original/*",
    "onnx/*",
    "openvino/*",
    "gguf/*",
    "coreml/*",
    "*.index.fp16.json",
)
# What a download may be given: a token, whether to use the stored one (as transformers takes it),
# or nothing.
Token = str | bool | None
_SHA256 = re.compile(r"[0-9a-f]{64}")


def config_errors() -> tuple[type[Exception], ...]:
    """What reading a config.json of wrong types raises, in any library that reads it with the Hub's
    strict classes.
    """
    from huggingface_hub import errors

    strict: type[Exception] | None = getattr(
        errors, "StrictDataclassError", None
    )  # not in older versions
    return (strict,) if strict is not None else ()


def cached_snapshot(
    repo: str, revision: str | None = None, files: Sequence[str] = SAFE_FILES
) -> Path | None:
    """The local copy of a repository if this machine has a whole one; the network is not asked."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(repo, revision=revision, local_files_only=True, **_selection(files))
        )
    except (LocalEntryNotFoundError, IncompleteSnapshotError):
        return None


def snapshot(
    repo: str, revision: str | None = None, files: Sequence[str] = SAFE_FILES, token: Token = None
) -> Path:
    """The directory of a repository's commit in the Hub's cache, downloaded where needed: by one
    process at a time, large files in parts that outlive it.

    Without a `token` it is the Hub client's own (HF_TOKEN, or a login). With HF_HUB_OFFLINE, or
    when the Hub cannot be reached, the cache has to do. Errors: WeightsError, one for each thing
    that goes wrong.
    """
    from huggingface_hub import snapshot_download

    def whole(bar: type[Any] | None = None) -> Path:
        chosen = _selection(files)
        return Path(
            snapshot_download(repo, revision=revision, token=token, tqdm_class=bar, **chosen)
        )

    with _quiet():
        if is_offline():
            return retried(whole, repo, revision)
        with turn(_lock_file(repo), repo) as mine, downloading(repo, mine.share) as (counted, bar):

            def download() -> Path:
                sweep(_storage(repo))
                missing = _missing(repo, revision, files, token)
                counted.begin(sum(file.file_size for file in missing))
                _fetch_large(repo, missing, token, counted)
                return whole(bar)

            return retried(download, repo, revision)


def _missing(
    repo: str, revision: str | None, files: Sequence[str], token: Token
) -> Sequence[DryRunFileInfo]:
    """What is to be fetched, with room for it on the disk; nothing where the Hub does not say.
    Errors: WeightsError where there is no room, and the Hub client's.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    try:
        planned: Any = snapshot_download(
            repo, revision=revision, token=token, dry_run=True, **_selection(files)
        )
    except DryRunError:  # what the cache has must do; without it, that error says more
        return ()
    missing = [file for file in planned if file.will_download]
    if size := sum(int(file.file_size) for file in missing):
        require_room(repo, size - _left_by_others(repo))
        logger.info("Fetching %s from the Hub: %s.", repo, readable_size(size))
    return missing


def _fetch_large(
    repo: str, missing: Sequence[DryRunFileInfo], token: Token, counted: Download
) -> None:
    """Those of `missing` that are large and whose SHA-256 the Hub names, in parts; what is not
    fetched here is left to the Hub's client. Errors: those of `fetch_files`.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HTTPError

    large = [file for file in missing if file.file_size >= LEAST]
    sources, addresses = {}, Addresses(token)
    for file in large:
        url = hf_hub_url(repo, file.filename, revision=file.commit_hash)
        found = get_hf_file_metadata(url, token=token)
        if found.etag and _SHA256.fullmatch(found.etag) and found.size == file.file_size:
            target = _storage(repo) / "blobs" / found.etag
            addresses.know(url, found.location)
            sources[found.etag] = Source(url, file.file_size, found.etag, target)
    transfer = Transfer(addresses.read, (HTTPError,), patience, counted.add)
    with contextlib.suppress(NoRanges):
        fetch_files([each for each in sources.values() if not each.target.exists()], transfer)


def _storage(repo: str) -> Path:
    """The directory of a repository in the Hub's cache."""
    from huggingface_hub.file_download import repo_folder_name

    return hub_cache() / str(repo_folder_name(repo_id=repo, repo_type="model"))


def _lock_file(repo: str) -> Path:
    return hub_cache() / ".locks" / _storage(repo).name / "openllm.lock"


def _left_by_others(repo: str) -> int:
    """Bytes of parts that are here already."""
    return sum(path.stat().st_blocks * 512 for path in (_storage(repo) / "blobs").glob(f"*{DATA}"))


def remote_files(repo: str, revision: str | None = None, token: Token = None) -> list[str]:
    """Names of a repository's files, sorted; empty when the Hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        return sorted(HfApi().list_repo_files(repo, revision=revision, token=token))
    except (HTTPError, OfflineModeIsEnabled, OSError):
        return []


def remote_sizes(repo: str, revision: str | None = None, token: Token = None) -> dict[str, int]:
    """Bytes of each file at the top of a repository, by name. Errors: those of `snapshot`."""
    from huggingface_hub import HfApi

    def ask() -> dict[str, int]:
        listed = HfApi().list_repo_tree(repo, revision=revision, token=token)
        return {entry.path: int(getattr(entry, "size", 0)) for entry in listed}

    return retried(ask, repo, revision)


def hub_cache() -> Path:
    """Where downloads are kept."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids to ask the Hub."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def has_token() -> bool:
    """Whether the Hub's client has a token: HF_TOKEN, or that of a login."""
    from huggingface_hub import get_token

    return bool(get_token())


def nearest(path: Path) -> Path:
    """`path`, or the nearest directory above it that is there and may be looked at."""
    # Path.exists raises PermissionError where one may not look.
    while not os.path.exists(path) and path != path.parent:  # noqa: PTH110
        path = path.parent
    return path


def require_room(repo: str, size: int) -> None:
    """Refuse a download of `size` bytes that the cache's disk has no room for. Errors:
    WeightsError.
    """
    free = shutil.disk_usage(nearest(hub_cache())).free
    if size > free:
        raise WeightsError(
            f"{repo} needs {readable_size(size)}, and the disk of the Hub's cache has"
            f" {readable_size(free)} left.",
            hint="Make room, or set HF_HOME to a larger disk.",
        )


def _selection(files: Sequence[str]) -> dict[str, Any]:
    return {"allow_patterns": list(files), "ignore_patterns": list(_SECOND_COPIES)}


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of the Hub's client, and none of its own lines about what it tries again:
    what stays wrong is said in one line of ours.
    """
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    silent = are_progress_bars_disabled()
    client = logging.getLogger("huggingface_hub")
    level = client.level
    if not silent:
        disable_progress_bars()
    client.setLevel(logging.ERROR)
    try:
        yield
    finally:
        client.setLevel(level)
        if not silent:
            enable_progress_bars()
