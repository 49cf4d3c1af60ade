"""`bentoml serve` where openllm is installed: a Bento is checked before anything of it is run, if
OPENLLM_VERIFY says so, and Python leaves no compiled code in it.

BentoML's command line takes commands of other distributions (the entry points `bentoml.commands`),
and the one of this name takes the place of its own.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bentoml_cli.serve import serve_command
from bentoml_cli.utils import BentoMLCommandGroup


def _serve(*args: Any, **options: Any) -> Any:
    from openllm.config.settings import Settings
    from openllm.config.words import VARIABLES
    from openllm.errors import OpenLLMError

    try:
        place = _bento(options["bento"], options.get("working_dir"))
        if place is not None:
            # of this process, and of the workers that it starts
            sys.dont_write_bytecode = True
            os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        settings = Settings.from_env()
        if settings.verify:
            options["bento"] = str(_checked(options["bento"], place, settings.verify_key))
    except OpenLLMError as error:
        sys.stderr.write(f"Error: {error.said(VARIABLES)}\n")
        sys.exit(1)
    return _theirs(*args, **options)


def _bento(target: str, working_dir: str | None) -> Path | None:
    """The directory of the Bento that `target` means; None: it is something else."""
    from openllm.bento.pack.store import find_bento
    from openllm.errors import ServeError

    place = Path(working_dir or ".", target).expanduser().absolute()
    if place.is_dir():
        return place if (place / "bento.yaml").is_file() else None
    try:
        return find_bento(target)[1]
    except ServeError:
        return None


def _checked(target: str, place: Path | None, key: Path | None) -> Path:
    """`place`, if that is what was built. Errors: ServeError, BuildError."""
    from openllm.bento.inspect import require_intact
    from openllm.errors import ServeError, option

    if place is None:
        raise ServeError(
            f"{target} is no Bento, so it cannot be checked.",
            hint=f"Unset {option('verify')}, or build one: openllm build.",
        )
    require_intact(place, key)
    return place


command = copy.copy(serve_command.commands["serve"])
# without the options that all of BentoML's commands get at their end when they are added
command.params = command.params[: -BentoMLCommandGroup.NUMBER_OF_COMMON_PARAMS]
_theirs: Callable[..., Any] = command.callback
command.callback = functools.wraps(_theirs)(_serve)
