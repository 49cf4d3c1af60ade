"""Who a request comes from: one value, decided by `openllm.http.auth` and passed on with the
request.
"""

from __future__ import annotations

from contextvars import ContextVar
from enum import IntEnum
from fnmatch import fnmatchcase

import attrs

from openllm.http.keys.account import KeyAccount


class Rank(IntEnum):
    """What a caller has shown."""

    NONE = 0
    USER = 1
    ADMIN = 2


@attrs.frozen
class Caller:
    """One key's holder, or whoever calls a server that asks for none."""

    rank: Rank = Rank.USER
    name: str = ""  # of the key, for metrics and logs; "" where none is asked for
    models: tuple[str, ...] | None = None  # names and globs of what it may use; None: everything
    account: KeyAccount | None = None  # what it may use and has used; None: no limits of its own

    @property
    def listed(self) -> bool:
        """Whether the key stands in the file of keys."""
        return self.account is not None

    def may_use(self, model: str) -> bool:
        """Whether it may use what is called `model`."""
        return self.models is None or any(fnmatchcase(model, glob) for glob in self.models)


ANYBODY = Caller()
NOBODY = Caller(Rank.NONE)
# The key of OPENLLM_API_KEY and that of OPENLLM_ADMIN_KEY; no key of the file has these names.
USER = Caller(Rank.USER, "user")
ADMIN = Caller(Rank.ADMIN, "admin")
RESERVED = (USER.name, ADMIN.name)

# Whose request is being answered. What looks up models asks it, so that no protocol can forget to.
calling: ContextVar[Caller] = ContextVar("calling", default=ANYBODY)
