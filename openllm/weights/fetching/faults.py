"""What goes wrong between this machine and the Hub: what is worth another try, and one line for the
rest.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from openllm.errors import WeightsError, option

T = TypeVar("T")
logger = logging.getLogger(__name__)

PASSING = (408, 429, 500, 502, 503, 504)  # answers after which the same request may succeed
LONGEST_WAIT = 60.0  # seconds that a server may ask us to wait before we say so instead
_ATTEMPTS = 3
_FIRST_PAUSE = 0.5  # seconds; doubles
_LONG_ENOUGH = 10.0  # seconds of an attempt, within which the Hub's client tried again itself
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_NOT_OURS = {errno.EACCES, errno.EPERM, errno.EROFS}


class NotTheFile(ValueError):
    """What came is a page or another file, not the one that was asked for."""


def retried(work: Callable[[], T], repo: str, revision: str | None) -> T:
    """`work()`, tried again when the Hub stumbles; what still fails becomes one clear line."""
    from huggingface_hub.errors import HTTPError

    for attempt in range(_ATTEMPTS):
        begun = time.monotonic()
        try:
            return work()
        except (HTTPError, OSError, ValueError) as error:
            pause = patience(error, attempt)
            patient = time.monotonic() - begun > _LONG_ENOUGH
            if pause is None or patient or attempt + 1 == _ATTEMPTS:
                raise explained(error, repo, revision) from error
            logger.info("The Hub stumbled over %s; trying again in %g s.", repo, pause)
            time.sleep(pause)
    raise AssertionError("unreachable: the last attempt returns or raises")


def patience(error: Exception, attempt: int) -> float | None:
    """Seconds after which the same request may succeed; None where it will not, or asks for too
    long a wait. `attempt` counts from 0.
    """
    from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled

    status = status_of(error)
    if status in PASSING:
        wait = _asked_wait(error)
        if wait is None:
            return float(_FIRST_PAUSE * 2**attempt)
        return wait if wait <= LONGEST_WAIT else None
    broken = isinstance(error, HTTPError) and not status
    gone = _is_refused(error) or isinstance(error, OfflineModeIsEnabled)
    return float(_FIRST_PAUSE * 2**attempt) if broken and not gone else None


def status_of(error: BaseException) -> int:
    """The HTTP status behind an error of the Hub client; 0 when there was no answer."""
    response = _response(error)
    return int(getattr(response, "status_code", 0))


def explained(error: BaseException, repo: str, revision: str | None) -> WeightsError:
    """One line for what went wrong while `repo` was fetched."""
    from huggingface_hub import constants, errors

    status = status_of(error)
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
        return _not_shown(repo)
    if constants.HF_HUB_OFFLINE:
        return WeightsError(
            f"{repo} is not in the Hub's local cache, and HF_HUB_OFFLINE forbids to fetch it.",
            hint="Unset HF_HUB_OFFLINE once, or copy the model here and name its directory.",
        )
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return WeightsError(
            f"The disk is full while fetching {repo}; what came is kept.",
            hint="Make room and run the same command again, or set HF_HOME to a larger disk.",
        )
    if isinstance(error, OSError) and error.errno in _NOT_OURS:
        return WeightsError(
            f"The Hub's cache cannot be written while fetching {repo}: {error.strerror}.",
            hint="Set HF_HOME to a directory of yours.",
        )
    if isinstance(error, errors.HFValidationError):
        return WeightsError(
            f"{repo!r} is no name of a model on the Hub.", hint="Write owner/name, or a directory."
        )
    return _explained_network(error, status, repo)


def _not_shown(repo: str) -> WeightsError:
    return WeightsError(
        f"The Hub has no model {repo}, or does not show it to you.",
        hint="Check the name; for a private one set HF_TOKEN. A local directory is written ./name.",
    )


def _explained_network(error: BaseException, status: int, repo: str) -> WeightsError:
    from huggingface_hub import constants

    if status == 429:
        wait = _asked_wait(error)
        return WeightsError(
            f"The Hub takes no more requests of this machine{_for(wait)} (429).",
            hint="Run the same command again after that; with HF_TOKEN set more are allowed.",
        )
    if not status and _is_strange(error):
        return WeightsError(
            f"{_host(constants.ENDPOINT)} answered with something else than the Hub's data: a"
            " proxy or a login page may stand in between.",
            hint="Check HF_ENDPOINT and the proxy, or log in to that network.",
        )
    if not status and not _is_refused(error) and _is_broken(error):
        return WeightsError(
            f"The connection broke while fetching {repo}; what came is kept.",
            hint="Run the same command again: it goes on from there.",
        )
    if _caused_by(error, "TooManyRedirects"):
        return WeightsError(
            f"{_host(constants.ENDPOINT)} sends from one address to the next without end.",
            hint="Check HF_ENDPOINT and the proxy.",
        )
    if not status and (proxy := _proxy_of(constants.ENDPOINT)) is not None:
        return WeightsError(
            f"The proxy {_host(proxy)} cannot be reached, or does not let us to"
            f" {_host(constants.ENDPOINT)}.",
            hint="Check HTTPS_PROXY, HTTP_PROXY and NO_PROXY.",
        )
    answer = f"answered {status}" if status else "cannot be reached"
    usual = constants.ENDPOINT == constants._HF_DEFAULT_ENDPOINT
    where = "" if usual else f", look at HF_ENDPOINT ({_host(constants.ENDPOINT)})"
    return WeightsError(
        f"The Hub {answer}, and this machine has no whole copy of {repo}.",
        hint=f"Try again later{where}, or name a local directory.",
    )


def _is_broken(error: BaseException) -> bool:
    """Whether data had begun to come: a connection that ended, or less than was said."""
    return _caused_by(error, "RemoteProtocolError", "ReadError", "ReadTimeout", "WriteError")


def _is_strange(error: BaseException) -> bool:
    """Whether an answer came that is no Hub's: a page instead of JSON, no commit, another size."""
    said = _caused_by(error, "JSONDecodeError", "FileMetadataError", "NotTheFile")
    return said or (isinstance(error, OSError) and "Consistency check failed" in str(error))


def _proxy_of(url: str) -> str | None:
    """The proxy that this process goes through to `url`."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _is_refused(error: BaseException) -> bool:
    """Whether no connection was made at all."""
    return _caused_by(error, "ConnectError", "ConnectTimeout", "ProxyError")


def _caused_by(error: BaseException | None, *names: str) -> bool:
    """Whether it, or what it came of, is an error of the HTTP library called so. The library is
    the Hub client's own, another one in each of its major versions.
    """
    seen = error
    while seen is not None:
        if any(kind.__name__ in names for kind in type(seen).__mro__):
            return True
        seen = seen.__cause__
    return False


def _response(error: BaseException) -> object | None:
    seen: BaseException | None = error
    while seen is not None:
        response: object | None = getattr(seen, "response", None)
        if getattr(response, "status_code", 0):
            return response
        seen = seen.__cause__
    return None


def _asked_wait(error: BaseException) -> float | None:
    """Seconds that the answer asks to wait; None where it does not say."""
    headers = getattr(_response(error), "headers", {})
    said = headers.get("Retry-After") or _until_reset(headers.get("RateLimit", ""))
    try:
        return max(float(said), 0.0)
    except ValueError:  # also a date, which no server of models has been seen to send
        return None


def _until_reset(limit: str) -> str:
    """The seconds in `"api";r=0;t=55`, as the Hub writes its limits."""
    fields = dict(field.strip().partition("=")[::2] for field in limit.split(";"))
    return fields.get("t", "") if fields.get("r") == "0" else ""


def _for(wait: float | None) -> str:
    return f" for {wait:.0f} s" if wait is not None else ""


def _host(url: str) -> str:
    """Scheme, host and port of a URL: a proxy's may hold a password."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}" if parts.hostname else url
