"""Fields of requests that the server does not act on: told to the client in a header, to the
operator once in the log.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

log = logging.getLogger(__name__)
MOST_SHOWN = 32  # names in one header
MOST_LOGGED = 1000  # names that one process logs
_LONGEST = 96  # characters of a name
_INDEX = re.compile(r"\[\d+\]")
_UNSAFE = re.compile(r"[^!-+\--~]")  # a comma stands between names


class Ignored:
    """What one server has ignored so far."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def header(self, paths: Sequence[str]) -> bytes:
        """The names of the fields at `paths` for a header, each once, entries of an array as one;
        those that are new are logged.
        """
        names = dict.fromkeys(_UNSAFE.sub("?", _INDEX.sub("[]", path))[:_LONGEST] for path in paths)
        for name in names:
            if name not in self._logged and len(self._logged) < MOST_LOGGED:
                self._logged.add(name)
                log.warning("Ignored the field %s of a request; it is not logged again.", name)
        shown = list(names)[:MOST_SHOWN]
        if len(names) > MOST_SHOWN:
            shown.append("...")
        return ", ".join(shown).encode()
