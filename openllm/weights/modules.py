"""What sentence-transformers writes beside a model: the modules that its output goes through, its
prompts, and how its texts are written and cut.

The format is that of sentence-transformers 6, with the file names and keys of earlier versions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs

from openllm.errors import UnsupportedFeature, WeightsError
from openllm.weights.checkpoint import read_json, read_value

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
TOKENIZER = "tokenizer_config.json"
_PACKAGE = "sentence_transformers."
# The Transformer's own file: any of these names, the first that is there.
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
# What every SentenceTransformer has, empty where nothing else is written down.
_PROMPTS: Mapping[str, str] = {"query": "", "document": ""}
_VECTOR = "sentence_embedding"  # the feature that a module reads and writes
_LONGEST_PROMPT = 100_000  # characters

Activation = Literal["identity", "tanh", "relu", "gelu", "silu", "sigmoid"]
# Of torch.nn, by the last part of the path that is written down.
_ACTIVATIONS: Mapping[str, Activation] = {
    "Identity": "identity",
    "Tanh": "tanh",
    "ReLU": "relu",
    "GELU": "gelu",
    "SiLU": "silu",
    "Sigmoid": "sigmoid",
}


@attrs.frozen
class Dense:
    """`activation(weight @ vector + bias)`, and the vector itself where it is `residual`."""

    kind: str  # the class as modules.json names it
    folder: Path  # with the weights
    inputs: int
    outputs: int
    bias: bool
    activation: Activation
    residual: bool
    written: str | None  # the activation as it is written down


@attrs.frozen
class LayerNorm:
    """Mean 0 and variance 1, then a learned scale and shift."""

    folder: Path
    width: int


@attrs.frozen
class Normalize:
    """Length 1."""


Stage = Dense | LayerNorm | Normalize


@attrs.frozen
class LogitScore:
    """The score of a language model that answers yes or no: the logit of one token at the last
    position, less that of the other.
    """

    true_token: int
    false_token: int | None


@attrs.frozen
class TextForm:
    """How a text becomes token ids."""

    lower_case: bool = False
    max_length: int | None = None  # in tokens, special ones included
    messages: bool = False  # texts are turns of a conversation, rendered by the chat template
    template_kwargs: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class ModuleChain:
    """What a directory's files say; as it stands here, nothing."""

    kind: str | None = None  # SentenceTransformer, CrossEncoder, ...; None: no such directory
    pooling_file: Path | None = None
    stages: tuple[Stage, ...] = ()  # after the pooling, in order
    score: LogitScore | None = None
    form: TextForm = TextForm()
    prompts: Mapping[str, str] = attrs.field(factory=dict)
    default_prompt: str | None = None

    @property
    def task(self) -> str | None:
        """The task of a model with these modules; None where they do not show it."""
        if self.kind == "CrossEncoder" or self.score is not None:
            return "classify"
        return None if self.pooling_file is None else "embed"


def model_directory(directory: Path) -> Path:
    """Where the transformer itself lies: `directory`, or the folder of it that modules.json names
    (`0_Transformer`). Errors: WeightsError.
    """
    if not (directory / MODULES).is_file():
        return directory
    for at, entry in enumerate(_entries(directory)):
        if _name(entry, at) == "Transformer":
            return _folder(directory, entry)
    return directory


def read_modules(directory: Path) -> ModuleChain:
    """The modules of the model in `directory`, which may be its Transformer's own folder. Errors:
    WeightsError for a file that is torn; UnsupportedFeature, by name, for what no engine does.
    """
    root = _root(directory)
    if root is None:
        return ModuleChain(form=_form(directory))
    settings = read_json(root / SETTINGS) if (root / SETTINGS).is_file() else {}
    kind = settings.get("model_type", "SentenceTransformer")
    if kind not in ("SentenceTransformer", "CrossEncoder"):
        raise UnsupportedFeature(
            f"The model is sentence-transformers' {kind}, which no engine serves.",
            hint="Use a SentenceTransformer (one vector per text) or a CrossEncoder.",
        )
    chain = ModuleChain(kind=kind, form=_form(model_directory(root)), **_prompts(settings))
    for at, entry in enumerate(_entries(root)):
        chain = _added(chain, root, entry, at)
    return chain


def _root(directory: Path) -> Path | None:
    """The directory with modules.json: this one, or the one whose Transformer it is."""
    if (directory / MODULES).is_file():
        return directory
    above = directory.parent
    inner = (above / MODULES).is_file() and model_directory(above) == directory
    return above if inner else None


def _entries(root: Path) -> list[Mapping[str, Any]]:
    path = root / MODULES
    modules = read_value(path)
    if not isinstance(modules, list) or not all(isinstance(one, Mapping) for one in modules):
        raise WeightsError(f"{path} holds no list of modules.", hint="Fetch it again.")
    return modules


def _name(entry: Mapping[str, Any], at: int) -> str:
    """The class of a module of sentence-transformers' own; of anybody else's, the whole path. A
    `Transformer` in the first place is one whoever wrote its class (`custom_st.Transformer`): the
    engine runs the model itself, from its own config.json.
    """
    kind = str(entry.get("type"))
    last = kind.rpartition(".")[2]
    return last if kind.startswith(_PACKAGE) or (at == 0 and last == "Transformer") else kind


def _folder(root: Path, entry: Mapping[str, Any]) -> Path:
    said = entry.get("path")
    inner = Path(said if isinstance(said, str) else "")
    if inner.is_absolute() or ".." in inner.parts:
        raise WeightsError(
            f"{root / MODULES} names a path outside of it: {said!r}.", hint="Fetch it again."
        )
    return root / inner


def _added(chain: ModuleChain, root: Path, entry: Mapping[str, Any], at: int) -> ModuleChain:
    """`chain` with one more module, the one at place `at`. Errors: WeightsError,
    UnsupportedFeature.
    """
    name, folder = _name(entry, at), _folder(root, entry)
    path = folder / "config.json"
    if name in ("Transformer", "Dropout"):  # the latter drops nothing but in training
        return chain
    if name == "Pooling":
        return attrs.evolve(chain, pooling_file=path)
    if name == "LogitScore":
        return attrs.evolve(chain, score=_logit_score(read_json(path)))
    stage = _stage(str(entry.get("type")), name, folder)
    if stage is None or chain.pooling_file is None:
        where = "" if stage is None else " before any Pooling"
        raise UnsupportedFeature(
            f"The model's output goes through the module {entry.get('type')}{where}, which no"
            " engine does.",
            hint="Known are Transformer, Pooling, Dense, LayerNorm, Normalize and LogitScore.",
        )
    return attrs.evolve(chain, stages=(*chain.stages, stage))


def _stage(kind: str, name: str, folder: Path) -> Stage | None:
    if name not in ("Normalize", "Dense", "LayerNorm"):
        return None
    path = folder / "config.json"
    said = read_json(path) if path.is_file() else {}
    read, written = said.get("module_input_name"), said.get("module_output_name")
    if {read, written} - {None, _VECTOR}:
        raise UnsupportedFeature(
            f"The module {kind} goes from {read} to {written}, which no engine does.",
            hint=f"Known are modules that read and write {_VECTOR}.",
        )
    if name == "Normalize":
        return Normalize()
    if name == "LayerNorm":
        return LayerNorm(folder, _whole(said, "dimension", path))
    return _dense(kind, folder, said)


def _dense(kind: str, folder: Path, said: Mapping[str, Any]) -> Dense:
    path = folder / "config.json"
    function = said.get("activation_function", "torch.nn.modules.activation.Tanh")
    module, _, name = str(function).rpartition(".")
    if not module.startswith("torch.nn") or name not in _ACTIVATIONS:
        raise UnsupportedFeature(
            f"The activation of a Dense module, {function}, is not known here.",
            hint=f"Known are {', '.join(_ACTIVATIONS)} of torch.nn.",
        )
    return Dense(
        kind=kind,
        folder=folder,
        inputs=_whole(said, "in_features", path),
        outputs=_whole(said, "out_features", path),
        bias=said.get("bias", True) is not False,
        activation=_ACTIVATIONS[name],
        residual=said.get("use_residual") is True,
        written=said.get("activation_function"),
    )


def _logit_score(said: Mapping[str, Any]) -> LogitScore:
    true, false = said.get("true_token_id"), said.get("false_token_id")
    if type(true) is not int or not (false is None or type(false) is int):
        raise WeightsError(
            f"The LogitScore module names the tokens {true!r} and {false!r}.",
            hint="Fetch its config.json again.",
        )
    return LogitScore(true, false)


def _whole(said: Mapping[str, Any], name: str, path: Path) -> int:
    value = said.get(name)
    if type(value) is not int or value < 1:
        raise WeightsError(f"{path} says no {name}, but {value!r}.", hint="Fetch it again.")
    return value


def _prompts(settings: Mapping[str, Any]) -> dict[str, Any]:
    """`prompts` and `default_prompt` of a chain. Errors: WeightsError."""
    said = settings.get("prompts")
    prompts = {**_PROMPTS, **(said if isinstance(said, Mapping) else {})}
    prompts = {name: text if text is not None else "" for name, text in prompts.items()}
    default = settings.get("default_prompt_name")
    wrong = [name for name, text in prompts.items() if not isinstance(text, str)]
    if wrong or sum(map(len, prompts.values())) > _LONGEST_PROMPT:
        raise WeightsError(f"{SETTINGS} holds prompts that are no texts.", hint="Fetch it again.")
    if default is not None and default not in prompts:
        raise WeightsError(
            f"{SETTINGS} names the prompt {default!r}, which it does not hold.",
            hint=f"It holds {', '.join(prompts)}.",
        )
    return {"prompts": prompts, "default_prompt": default}


def _form(directory: Path) -> TextForm:
    """What the Transformer's own file says of texts. Errors: WeightsError."""
    path = next(_transformer_files(directory), None)
    if path is None:
        return TextForm()
    said = read_json(path)
    processor = said.get("processor_kwargs") or said.get("tokenizer_args") or {}
    tokenizer = directory / TOKENIZER
    longest = (
        processor.get("model_max_length")
        or said.get("max_seq_length")
        or (read_json(tokenizer).get("model_max_length") if tokenizer.is_file() else None)
    )
    modalities = said.get("modality_config")
    template = (said.get("processing_kwargs") or {}).get("chat_template") or {}
    return TextForm(
        lower_case=said.get("do_lower_case") is True,
        max_length=longest if type(longest) is int and longest > 0 else None,
        messages=isinstance(modalities, Mapping) and "message" in modalities,
        template_kwargs={key: value for key, value in template.items() if key != "restore_suffix"},
    )


def _transformer_files(directory: Path) -> Iterator[Path]:
    for kind in _KINDS:
        if (path := directory / f"sentence_{kind}_config.json").is_file():
            yield path
