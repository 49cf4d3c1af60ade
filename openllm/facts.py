"""What is known of each engine without importing it: said once, by the engine's own package, and
asked for here.
"""

from __future__ import annotations

import re
from functools import cache
from types import ModuleType
from typing import Any

import attrs

from openllm.discovery import Variant, load, load_each, variants
from openllm.errors import ConfigurationError

GROUP = "openllm.backends"
MODULE = "facts"  # of a backend's package; it exports FACTS
ANY_FAMILY = ("*",)


def _word(facts: Facts, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", value):
        raise ConfigurationError(f"A backend's {attribute.name} cannot be {value!r}.")


def _words(facts: Facts, attribute: attrs.Attribute[tuple[str, ...]], value: object) -> None:
    if not isinstance(value, tuple) or not all(isinstance(word, str) and word for word in value):
        raise ConfigurationError(
            f"{attribute.name} must be a tuple of texts, got {value!r}.", param=attribute.name
        )


def _words_or_none(facts: Facts, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is not None:
        _words(facts, attribute, value)


@attrs.frozen(kw_only=True)
class MemoryUse:
    """What an engine takes of memory beside the weights, and how it keeps what it has of sequences.
    Sizes in bytes.
    """

    process: int = 512 * 2**20  # of the machine: the interpreter, its libraries, what they start
    working: int = 0  # of the machine, from an engine's first pass on: kernels and their buffers
    context: int = 0  # of each GPU: its context, and workspaces of libraries
    graphs: int = 0  # of each GPU: steps that are recorded
    kept_free: float = 0.0  # share of a GPU that is left beside all this
    share: float = 0.9  # of a GPU that it takes, where nothing is said
    steps: tuple[int, int] = (256, 2048)  # prompt tokens of a step, on a CPU and on a GPU
    rows: tuple[int, int] = (32, 256)  # sequences at once, on a CPU and on a GPU
    block: int = 1  # tokens
    windows: bool = False  # a layer with a window keeps no more tokens than that
    states: int = 1  # copies of a sequence's state
    parallel: bool = False  # several GPUs hold a model together
    packs: bool = False  # weights are laid out anew for a CPU's products
    merges: bool = False  # experts that are stored one by one are joined while they load
    quantizes_late: tuple[str, ...] = ()  # what a CPU's weights become once all of them are loaded
    # What it can make of weights on a GPU while they load, the most exact first; fp8 where the GPU
    # computes in it.
    shrinks: tuple[str, ...] = ()
    bf16_on_cpu: bool = False  # where the processor has instructions for it


@attrs.frozen(kw_only=True)
class Facts:
    """One engine's facts: the constant FACTS in the module `facts` of its package, which imports
    nothing of the engine.
    """

    name: str = attrs.field(validator=_word)  # of the package; what people write: --backend NAME
    title: str  # what it runs models with, as people write it
    # What else people write for the name.
    spellings: tuple[str, ...] = attrs.field(default=(), validator=_words)
    # Its place among those that are tried, the lowest first, when no backend is named (vLLM has 10,
    # PyTorch 20); None: it runs only where it is named.
    rank: int | None = None

    # What it serves.
    tasks: tuple[str, ...] = attrs.field(default=("generate",), validator=_words)
    # Families beside those that name this backend themselves.
    families: tuple[str, ...] = attrs.field(default=(), validator=_words)
    adapters: bool = False  # LoRA
    structures: bool = False  # it keeps an answer to a `Structure`
    expert_adapters: bool = False  # also in the experts of a mixture
    uniform_adapters: bool = False  # it knows one rank and one alpha for all layers of an adapter
    # Short names of quantizations; None: the engine tells when it starts.
    quantizations: tuple[str, ...] | None = attrs.field(factory=tuple, validator=_words_or_none)

    # What it needs of a machine.
    uses_gpu: bool = True  # where there is one
    wants_gpu: bool = False  # a deployment gives it one when nothing is said
    # What it takes of memory; None: nothing that anybody has measured.
    memory: MemoryUse | None = None
    # Debian packages that it needs while it runs.
    system_packages: tuple[str, ...] = attrs.field(default=(), validator=_words)

    # What a Bento locks: extras of the distribution that brings this backend, and packages by name.
    extras: tuple[str, ...] = attrs.field(default=(), validator=_words)
    packages: tuple[str, ...] = attrs.field(default=(), validator=_words)

    # Names in Python. A family's class is called by the prefix and the family (VLLMLlama); None: it
    # has no classes.
    class_prefix: str | None = None
    auto_class: str | None = attrs.field()

    @auto_class.default
    def _auto_class(self) -> str | None:
        return None if self.class_prefix is None else f"Auto{self.class_prefix}LLM"

    def serves(self, family: str) -> bool:
        """Whether this side says that the two go together."""
        return self.families == ANY_FAMILY or family in self.families


@cache
def all_facts() -> tuple[Facts, ...]:
    """Of every backend: first those that are tried when none is named, in that order, then the
    others by name.
    """
    found = load_each(variants(GROUP).values(), _read, MODULE)
    return tuple(sorted(found, key=lambda facts: (facts.rank is None, facts.rank or 0, facts.name)))


def backend_names() -> tuple[str, ...]:
    """What a backend can be called, in the order of `all_facts`."""
    return tuple(facts.name for facts in all_facts())


def facts_of(name: str) -> Facts:
    """The facts of the backend called `name`. Errors: ConfigurationError, BrokenExtension."""
    variant = variants(GROUP).get(name)
    if variant is None:
        raise ConfigurationError(
            f"backend {name!r} is not one of {', '.join(backend_names())}.", param="backend"
        )
    return load(variant, _read, MODULE)


def canonical_name(word: str) -> str:
    """The name of the backend that `word` spells (pt is pytorch); another word stays as it is."""
    if word in variants(GROUP):
        return word
    ours_first = sorted(all_facts(), key=lambda facts: not is_ours(facts.name))
    return next((facts.name for facts in ours_first if word in facts.spellings), word)


def is_ours(name: str) -> bool:
    """Whether the backend called `name` comes with openllm."""
    return variants(GROUP)[name].distribution is None


def _read(variant: Variant, module: ModuleType) -> Facts:
    facts = module.FACTS
    if not isinstance(facts, Facts) or facts.name != variant.name:
        raise ConfigurationError(f"FACTS of {module.__name__} must be Facts of {variant.name!r}")
    return facts
