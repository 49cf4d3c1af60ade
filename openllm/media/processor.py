"""A model's own processor, by transformers: a prompt and its images in, the prompt's token ids and
the model's inputs out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from openllm.errors import InvalidRequest, MissingDependency, OpenLLMError, WeightsError
from openllm.weights.checkpoint import CONFIG, read_json
from openllm.weights.code import PROCESSORS, TOKENIZER, needed_code
from openllm.weights.hub import config_errors
from openllm.weights.tokenizer import is_installed

if TYPE_CHECKING:
    from PIL.Image import Image as Pixels

# What processors raise for a prompt and images that they cannot bring together.
PROCESSOR_ERRORS = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    RuntimeError,
    AssertionError,
)
_LOADING: tuple[type[Exception], ...] = (OSError, *PROCESSOR_ERRORS)
_NOT_FEATURES = frozenset({"input_ids", "attention_mask"})
_ID_NAMES = ("image_token_id", "image_token_index")
_LONGEST_REASON = 300  # characters of a library's complaint
_SAMPLE, _SAMPLE_TEXT = 64, " what is to be seen in this image, and what is not?"  # pixels, text
INSTALL = "pip install pillow torchvision"


log = logging.getLogger(__name__)


@attrs.frozen
class Looked:
    """What a processor has made of one prompt."""

    token_ids: list[int]  # each image has as many as the model takes for it
    features: Mapping[str, Any]  # the model's other inputs: tensors by name
    end: int  # tokens up to the end of the last image


def looks_at_images(directory: Path) -> bool:
    """Whether a model's files say that it looks at images and answers in text, and how, and what
    decodes images is installed. Of models that attend to images aside (mllama) only the text is
    served.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    path = directory / CONFIG
    if not path.is_file() or not any((directory / name).is_file() for name in PROCESSORS):
        return False
    said = read_json(path)
    text = said.get("text_config")
    if isinstance(text, dict) and text.get("cross_attention_layers"):
        return False
    kind = said.get("model_type")
    return kind in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES and is_installed("PIL")


class Processor:
    """One model's processor. Safe to use from several threads, once it is made."""

    def __init__(self, inner: Any, image_token_id: int | None) -> None:
        self._inner = inner
        self._image_token_id = image_token_id
        mark = getattr(inner, "image_token", None)
        mark = getattr(mark, "content", mark)
        # What stands for an image in a prompt; None: not known.
        self.mark: str | None = mark if isinstance(mark, str) and mark else None

    def look(self, text: str, images: Sequence[Pixels]) -> Looked:
        """The prompt `text`, in which each image is one mark, with its images. Errors:
        InvalidRequest where the two do not go together.
        """
        marks = text.count(self.mark) if self.mark is not None else len(images)
        if marks != len(images):
            raise InvalidRequest(
                f"The prompt has {marks} places for images, and there are {len(images)} images.",
                hint=f"Leave {self.mark} out of texts; the model's chat template may show no images"
                " of such messages.",
                param="prompt",
            )
        try:
            made = self._inner(
                text=[text],
                images=list(images),
                add_special_tokens=False,
                return_tensors="pt",
            )
        except PROCESSOR_ERRORS as error:
            raise InvalidRequest(
                f"The model's processor cannot take these images: {_reason(error)}.", param="prompt"
            ) from error
        token_ids = [int(token) for token in made["input_ids"][0]]
        features = {name: value for name, value in made.items() if name not in _NOT_FEATURES}
        return Looked(token_ids, features, self._end(token_ids))

    def sample(self) -> Looked | None:
        """A short prompt with an image, to try a model on; None where it is not known how a prompt
        marks one.
        """
        from PIL import Image as Pillow

        if self.mark is None:
            return None
        colours = bytes(at % 251 for at in range(3 * _SAMPLE * _SAMPLE))
        image = Pillow.frombytes("RGB", (_SAMPLE, _SAMPLE), colours)
        try:
            return self.look(f"{self.mark}{_SAMPLE_TEXT}", [image])
        except InvalidRequest as error:
            log.warning("the model's processor fails on a plain image: %s", error)
            return None

    def _end(self, token_ids: list[int]) -> int:
        if self._image_token_id not in token_ids:
            return len(token_ids)
        return len(token_ids) - token_ids[::-1].index(self._image_token_id)


def load_processor(directory: Path, tokenizer: Any) -> Processor:
    """The processor of a model that `may_see`, around its tokenizer. Errors: MissingDependency,
    WeightsError.
    """
    if (path := needed_code(directory)) is not None:
        raise WeightsError(f"{path} names code of the model's own (auto_map).")
    from transformers import AutoConfig, AutoImageProcessor

    try:
        config = AutoConfig.from_pretrained(directory, local_files_only=True)
        part = AutoImageProcessor.from_pretrained(directory, local_files_only=True)
        inner = _assemble(directory, config, part, tokenizer)
    except ImportError as error:
        raise MissingDependency(
            f"The model's image processor needs a package: {_reason(error)}.",
            hint=f"Run: {INSTALL}",
        ) from error
    except OpenLLMError:
        raise
    except _LOADING + config_errors() as error:
        raise WeightsError(
            f"The model's image processor does not load: {_reason(error)}.",
            hint="Fetch its files again.",
        ) from error
    ids = (getattr(config, name, None) for name in _ID_NAMES)
    return Processor(inner, next((found for found in ids if isinstance(found, int)), None))


def _assemble(directory: Path, config: Any, part: Any, tokenizer: Any) -> Any:
    """The processor without its parts for videos and sounds, of which the first needs
    torchvision.
    """
    kind = _processor_class(directory, config)

    class Still(kind):  # type: ignore[misc, valid-type]  # known by its name alone
        """Some of its parts are None."""

        def check_argument_for_proper_class(self, *_: object) -> None: ...

    Still.__name__ = kind.__name__
    said, _ = kind.get_processor_dict(directory, local_files_only=True)
    parts = {"image_processor": part, "tokenizer": tokenizer}
    arguments = [parts.get(name) for name in kind.get_attributes()]
    return Still.from_args_and_dict(arguments, said)


def _processor_class(directory: Path, config: Any) -> Any:
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    names = [
        read_json(directory / name).get("processor_class")
        for name in (*PROCESSORS, TOKENIZER)
        if (directory / name).is_file()
    ]
    names.append(PROCESSOR_MAPPING_NAMES.get(config.model_type))
    name = next((name for name in names if isinstance(name, str) and name), None)
    kind = None if name is None else getattr(transformers, name, None)
    if kind is None:
        raise WeightsError(f"transformers has no processor {name!r}.")
    kind.get_attributes()  # a class whose packages are missing says so here
    return kind


def chat_template(directory: Path) -> str | None:
    """The chat template that a processor's files have beside the tokenizer's, if any. Errors:
    WeightsError.
    """
    for name in ("chat_template.json", *PROCESSORS):
        path = directory / name
        found = read_json(path).get("chat_template") if path.is_file() else None
        if isinstance(found, str) and found:
            return found
    return None


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_LONGEST_REASON].rstrip(".")
