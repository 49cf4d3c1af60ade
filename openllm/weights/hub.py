"""The Hugging Face Hub: a repository's files as a local directory, downloaded or there already."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from openllm.config.sizes import readable_size
from openllm.errors import WeightsError, option
from openllm.weights.downloads import downloading

T = TypeVar("T")
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
_ATTEMPTS = 3
_FIRST_PAUSE = 0.5  # seconds; doubles


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
    """The directory of a repository's commit in the Hub's cache, downloaded where needed.

    Without a `token` it is the Hub client's own (HF_TOKEN, or a login). With HF_HUB_OFFLINE, or
    when the Hub cannot be reached, the cache has to do. Errors: WeightsError, one for each thing
    that goes wrong.
    """
    from huggingface_hub import snapshot_download

    with downloading(repo) as bar:

        def download() -> Path:
            found = snapshot_download(
                repo, revision=revision, token=token, tqdm_class=bar, **_selection(files)
            )
            return Path(found)

        return _retried(download, repo, revision)


def remote_files(repo: str, revision: str | None = None, token: Token = None) -> list[str]:
    """Names of a repository's files, sorted; empty when the Hub does not say."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    try:
        return sorted(HfApi().list_repo_files(repo, revision=revision, token=token))
    except (HTTPError, OfflineModeIsEnabled, OSError):
        return []


def download_size(
    repo: str, revision: str | None = None, files: Sequence[str] = SAFE_FILES, token: Token = None
) -> int:
    """Bytes that `snapshot` would have to download. Errors: those of `snapshot`."""
    from huggingface_hub import snapshot_download

    def plan() -> int:
        planned: Any = snapshot_download(
            repo, revision=revision, token=token, dry_run=True, **_selection(files)
        )
        return sum(int(file.file_size) for file in planned if file.will_download)

    with _quiet():
        return _retried(plan, repo, revision)


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


def _retried(work: Callable[[], T], repo: str, revision: str | None) -> T:
    """`work()`, tried again when the Hub stumbles; what still fails becomes one clear line."""
    from huggingface_hub.errors import HTTPError

    for attempt in range(_ATTEMPTS):
        try:
            return work()
        except (HTTPError, OSError, ValueError) as error:
            if attempt + 1 == _ATTEMPTS or not _passing(error):
                raise _explained(error, repo, revision) from error
            logger.info("The Hub stumbled over %s; trying again.", repo)
            time.sleep(_FIRST_PAUSE * 2**attempt)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _status(error: BaseException) -> int:
    """The HTTP status behind an error of the Hub client; 0 when there was no answer."""
    seen: BaseException | None = error
    while seen is not None:
        status = getattr(getattr(seen, "response", None), "status_code", 0)
        if status:
            return int(status)
        seen = seen.__cause__
    return 0


def _passing(error: BaseException) -> bool:
    """Whether the same request may well succeed in a moment."""
    return _status(error) in (408, 429, 500, 502, 503, 504)


def _explained(error: BaseException, repo: str, revision: str | None) -> WeightsError:
    from huggingface_hub import constants, errors

    status = _status(error)
    if isinstance(error, errors.GatedRepoError):
        return WeightsError(
            f"{repo} is gated on the Hub.",
            hint="Accept its terms on its page there, then set HF_TOKEN to your token.",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return WeightsError(
            f"{repo} has no revision {revision!r} on the Hub.", hint=f"Check {option('revision')}."
        )
    if isinstance(error, errors.RepositoryNotFoundError) or status in (401, 403, 404):
        return WeightsError(
            f"The Hub has no model {repo}, or does not show it to you.",
            hint=(
                "Check the name; for a private one set HF_TOKEN. A local directory is written"
                " ./name."
            ),
        )
    if constants.HF_HUB_OFFLINE:
        return WeightsError(
            f"{repo} is not in the Hub's local cache, and HF_HUB_OFFLINE forbids to fetch it.",
            hint="Unset HF_HUB_OFFLINE once, or copy the model here and name its directory.",
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return WeightsError(
            f"The disk is full while fetching {repo}.", hint="Make room, or set HF_HOME."
        )
    if isinstance(error, errors.HFValidationError):
        return WeightsError(
            f"{repo!r} is no name of a model on the Hub.", hint="Write owner/name, or a directory."
        )
    answer = f"answered {status}" if status else "cannot be reached"
    return WeightsError(
        f"The Hub {answer}, and this machine has no whole copy of {repo}.",
        hint="Try again later, or name a local directory.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of the Hub's client."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    silent = are_progress_bars_disabled()
    if not silent:
        disable_progress_bars()
    try:
        yield
    finally:
        if not silent:
            enable_progress_bars()
