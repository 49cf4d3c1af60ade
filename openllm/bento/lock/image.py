"""The image a Bento asks for: our wheel and the exact versions of this environment; no index is
asked or named.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import attrs
from bentoml.images import Image

from openllm import models
from openllm.backends.select import select_backend
from openllm.bento.lock.hashes import known_hashes, take_hashes
from openllm.bento.lock.requirements import Lock, lock_requirements
from openllm.bento.lock.wheel import wheel_digest, wheel_name, write_wheel
from openllm.config.settings import Settings
from openllm.config.spec import LLMSpec
from openllm.discovery import variants
from openllm.facts import facts_of

WHEELS = "wheels"  # below the Bento's src/
HASHES = "hashes.json"  # lies there while a Bento is built, if hashes were fetched for its lock
INSTALL = "apt-get update && apt-get install -q -y --no-install-recommends"
# Locks of the build that is going on, by backends and other requirements.
_LOCKS: ContextVar[dict[tuple[tuple[str, ...], tuple[str, ...]], Lock] | None] = ContextVar(
    "locks", default=None
)
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@contextmanager
def one_environment() -> Iterator[None]:
    """Until it is left nothing is installed: the same packages are looked for once."""
    token = _LOCKS.set({})
    try:
        yield
    finally:
        _LOCKS.reset(token)


@attrs.define
class LockedImage(Image):  # type: ignore[misc]  # bentoml has no types
    """An image whose Python packages are those that `lock_requirements` finds for the engines of
    `specs`.

    `bentoml build` and `openllm build` both freeze it, so both give the same Bento.
    """

    specs: tuple[LLMSpec, ...] = ()
    settings: Settings = attrs.field(factory=Settings)

    @classmethod
    def for_specs(cls, specs: Sequence[LLMSpec], settings: Settings) -> LockedImage:
        """The image for these models, built by a process with these settings: a plain Python,
        without compilers, as every package comes as a wheel.
        """
        return cls(  # type: ignore[call-arg]  # the fields of bentoml's Image
            base_image=f"python:{PYTHON_VERSION}-slim",
            distro="none",
            python_version=PYTHON_VERSION,
            specs=tuple(specs),
            settings=settings,
        )

    def freeze(self, bento_fs: Path, envs: list[Any], platform_: str | None = None) -> Any:
        """BentoML calls this while it builds: the last moment to add what the engines need while
        they run.
        """
        facts = [facts_of(name) for name in self.backends()]
        packages = sorted({package for each in facts for package in each.system_packages})
        command = f"{INSTALL} {' '.join(packages)}"
        if packages and command not in self.commands:
            self.commands.append(command)
        return super().freeze(bento_fs, envs, platform_)

    def _freeze_python_requirements(self, bento_fs: Path, platform_: str | None = None) -> str:
        """What BentoML would have uv resolve on an index: read off the environment instead."""
        write_wheel(bento_fs / "src" / WHEELS)
        if WHEELS not in self.build_include_paths:
            self.build_include(WHEELS)
        return requirements_text(self.lock(), take_hashes(bento_fs / "src" / HASHES))

    def fingerprint(self) -> dict[str, Any]:
        """Everything that shapes the image, for the Bento's version."""
        names = ("base_image", "python_version", "commands", "post_commands")
        return {
            **{name: getattr(self, name) for name in names},
            "requirements": requirements_text(self.lock()),
        }

    def backends(self) -> list[str]:
        """The engines the image must be able to run, sorted; what no spec says is chosen as it is
        here.
        """
        return sorted(
            {
                spec.backend or select_backend(spec, self.settings)[0].facts.name
                for spec in self.specs
            }
        )

    def lock(self) -> Lock:
        """The packages the image installs. Errors: BuildError."""
        families = [models.get(spec.family) for spec in self.specs if spec.family]
        needed = {text for family in families for text in family.requirements}
        asked = (tuple(self.backends()), tuple(sorted(needed | self.extensions())))
        known = _LOCKS.get()
        if known is None:
            return lock_requirements(*asked)
        if asked not in known:
            known[asked] = lock_requirements(*asked)
        return known[asked]

    def extensions(self) -> set[str]:
        """The distributions that these models are served with, beside openllm and their engines':
        those that bring their families, and all that bring a protocol or a format, because a server
        takes those that are installed.
        """
        known = variants("openllm.families")
        found = {known[models.get(spec.family).name] for spec in self.specs if spec.family}
        for group in ("openllm.protocols", "openllm.tools", "openllm.reasoning"):
            found |= set(variants(group).values())
        return {variant.distribution for variant in found if variant.distribution}


def requirements_text(lock: Lock, hashes: Mapping[str, str] | None = None) -> str:
    """requirements.txt of a Bento: exact pins and the wheel beside it; all with hashes, or none.

    Without `hashes`, by pin, they are taken from the environment, where every one of them is known
    there.
    """
    wheel = f"./{WHEELS}/{wheel_name()}"
    hashes = known_hashes(lock.pins) if hashes is None else hashes
    if hashes is None:
        return "\n".join([*lock.lines(), wheel, ""])
    lines = [
        f"{line} --hash=sha256:{hashes[line]}" if line in hashes else line for line in lock.lines()
    ]
    return "\n".join([*lines, f"{wheel} --hash=sha256:{wheel_digest()}", ""])
