"""An account on BentoCloud, and every failure of a conversation with it as one line that tells no
secret.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import httpx
import yaml
from bentoml.cloud import BentoCloudClient
from bentoml.exceptions import BentoMLException
from cattrs.errors import BaseValidationError

from openllm.errors import DeployError, option

REQUEST_SECONDS = 60  # that one answer may take, as in BentoML's own commands
LOGIN = (
    "Run `bentoml cloud login`, or set BENTO_CLOUD_API_KEY (and BENTO_CLOUD_API_ENDPOINT for"
    " another address)."
)
_TOKEN_HEADER = "X-YATAI-API-TOKEN"  # noqa: S105  the header's name
_THEIR_LOGGER = "bentoml._internal.cloud"
_STATUS = re.compile(r"request failed with status code (\d{3}): ?(.*)", re.DOTALL)
_LONGEST_QUOTE = 300  # characters of what the server said
_SHORTEST_SECRET = 4  # characters; hiding each "1" would only make messages unreadable


@attrs.frozen
class Account:
    """Who speaks, and to whom. `client` is BentoML's; `hidden` are texts that no message may
    hold.
    """

    endpoint: str
    email: str
    client: Any = attrs.field(repr=False)
    hidden: tuple[str, ...] = attrs.field(repr=False, default=())

    def quote(self, text: str) -> str:
        """What the server said, in one line: the message of a JSON body, or the text; without what
        is hidden.
        """
        try:
            body = json.loads(text)
        except ValueError:
            body = None
        if isinstance(body, dict):
            said = (body[key] for key in ("error", "message", "msg", "detail") if body.get(key))
            text = str(next(said, text))
        line = self._hide(_one_line(self._hide(text))).rstrip(".")
        if len(line) > _LONGEST_QUOTE:
            return f"{line[:_LONGEST_QUOTE]} ..."
        return line or "no reason given"

    def _hide(self, text: str) -> str:
        """`text` without the secrets, as they are, as JSON writes them, or with their white space
        joined.
        """
        written = {
            form
            for secret in self.hidden
            for form in (secret, json.dumps(secret)[1:-1], _one_line(secret))
        }
        for secret in sorted(written, key=len, reverse=True):
            if len(secret.strip()) >= _SHORTEST_SECRET:
                text = text.replace(secret, "***")
        return text


def connect(seconds: float = REQUEST_SECONDS, hidden: Iterable[str] = ()) -> Account:
    """The account of `bentoml cloud login`, or of the variables, once the server has accepted its
    token.

    No answer may take longer than `seconds`; `hidden` are values that no message may hold. Errors:
    DeployError.
    """
    try:
        with _their_logs_silenced():
            client = BentoCloudClient(timeout=seconds)
    except BentoMLException:
        raise DeployError("No BentoCloud account is set up on this machine.", hint=LOGIN) from None
    except (yaml.YAMLError, BaseValidationError, ValueError, OSError):  # it may quote the token
        raise DeployError(
            "The token or endpoint of the BentoCloud account cannot be read.", hint=LOGIN
        ) from None
    endpoint, token = client.client.endpoint, client.client.session.headers[_TOKEN_HEADER]
    account = Account(endpoint, "", client, (token, *hidden))
    with conversation(account, "log in"):
        user = client.client.v1.get_current_user()
    if user is None:
        raise DeployError(f"{endpoint} does not speak BentoCloud's API.", hint=LOGIN)
    return attrs.evolve(account, email=user.email)


@contextmanager
def conversation(account: Account, action: str) -> Iterator[None]:
    """Around calls of BentoML's client that `action` (a verb: "push x:1") is made of. Errors:
    DeployError.
    """
    try:
        with _their_logs_silenced():
            yield
    except BentoMLException as error:
        raise refusal(account, action, str(error)) from None
    except httpx.TimeoutException:
        raise DeployError(
            f"BentoCloud at {account.endpoint} did not answer in time: could not {action}.",
            hint=f"Try again, or give it longer with {option('timeout')}.",
        ) from None
    except (httpx.TransportError, httpx.InvalidURL, UnicodeError) as error:
        raise DeployError(
            f"BentoCloud at {account.endpoint} cannot be reached ({type(error).__name__}): could"
            f" not {action}.",
            hint="Check the network and the endpoint.",
        ) from None
    except (ValueError, BaseValidationError):
        raise DeployError(
            f"{account.endpoint} answered something that is not BentoCloud's API: could not"
            f" {action}.",
            hint="Check the endpoint, and that BentoML is new enough.",
        ) from None


def refusal(account: Account, action: str, text: str) -> DeployError:
    """What BentoML's client says went wrong, as an error of ours."""
    found = _STATUS.search(text)
    status, said = (int(found[1]), account.quote(found[2])) if found else (0, account.quote(text))
    if status == httpx.codes.UNAUTHORIZED:
        return DeployError(
            f"BentoCloud at {account.endpoint} refuses the API token.", hint=LOGIN, code="401"
        )
    if status == httpx.codes.FORBIDDEN:
        hint = (
            "The account may not do that, or the name is somebody else's: ask an administrator, or"
            " change the name."
        )
        return DeployError(f"BentoCloud forbids to {action}: {said}.", hint=hint, code="403")
    if status >= httpx.codes.INTERNAL_SERVER_ERROR or "trace ID" in text:
        failed = f"BentoCloud failed ({status})" if status else "BentoCloud failed"
        hint = "Try again later."
        return DeployError(
            f"{failed}, could not {action}: {said}.", hint=hint, code=str(status or 500)
        )
    what = f"BentoCloud refused to {action}" if status else f"Could not {action}"
    return DeployError(f"{what}: {said}.", code=str(status or 400))


def _one_line(text: str) -> str:
    return " ".join(text.split())


@contextmanager
def _their_logs_silenced() -> Iterator[None]:
    """BentoML logs failures beside raising them, answers and all; one line is enough."""
    theirs = logging.getLogger(_THEIR_LOGGER)
    before = theirs.level
    theirs.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        theirs.setLevel(before)
