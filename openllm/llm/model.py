"""What a spec stands for before there is an engine: files, family, tokenizer and what is made of
them, each on first use.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs

from openllm import models
from openllm.answer.tokens import TokenTable
from openllm.backends.base import BackendInfo
from openllm.backends.select import select_backend
from openllm.config.sampling import build_params, model_defaults
from openllm.config.settings import Settings
from openllm.config.spec import AdapterSpec, LLMSpec
from openllm.errors import (
    ConfigurationError,
    InvalidRequest,
    MissingDependency,
    WeightsError,
    option,
)
from openllm.llm.resolve import family_of_id
from openllm.media.processor import Processor, chat_template, load_processor, looks_at_images
from openllm.models.base import LLMConfig
from openllm.prompt.plain import SlowTokenizer
from openllm.prompt.renderer import ChatRenderer
from openllm.prompt.tokenizer import lower_case
from openllm.types import SamplingParams
from openllm.weights.adapters import check_adapter, resolve_adapter
from openllm.weights.checkpoint import architecture
from openllm.weights.hub import Token
from openllm.weights.labels import Labels, read_labels
from openllm.weights.modules import ModuleChain, model_directory, read_modules
from openllm.weights.pooling import pools_prompt
from openllm.weights.resolve import resolve_weights
from openllm.weights.tokenizer import load_tokenizer

CheckWeights = Callable[[LLMSpec, Path], None]  # raises WeightsError

# Options of a deployment that are not sampling parameters too, as `seed` is.
_DEPLOYMENT = attrs.fields_dict(LLMSpec).keys() - attrs.fields_dict(SamplingParams).keys()


class Model:
    """One spec's weights, adapters, family, tokenizer, renderer and sampling defaults.

    `settings` are those of this process, `token` is shown to the Hub alone. `weights_dir` is where
    the weights are, when that is known already; else they are looked for, and `check` says whether
    those that were found will do.
    """

    def __init__(
        self,
        spec: LLMSpec,
        settings: Settings,
        token: Token = None,
        weights_dir: Path | None = None,
        check: CheckWeights | None = None,
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.token = token  # kept out of the spec, which is written down
        self._given_dir = weights_dir
        self._check = check

    def prepare(self) -> None:
        """Read what an engine and its requests need, so that nothing waits for the disk on an event
        loop. May download. Errors: WeightsError, ConfigurationError.
        """
        _ = self.renderer, self.own_family, self.own_sampling, self.adapter_dirs
        if self.spec.task == "classify":
            _ = self.labels

    @cached_property
    def weights_dir(self) -> Path:
        """The local directory of weights and tokenizer. May download a Hub id. Errors:
        WeightsError.
        """
        return model_directory(self._given_dir or self._found_dir())

    def _found_dir(self) -> Path:
        found = resolve_weights(self.spec, self.settings.bentoml_home, self.token)
        if self._check is not None:
            self._check(self.spec, found)
        return found

    @cached_property
    def adapter_dirs(self) -> Mapping[str, Path]:
        """The spec's adapters by name, each found and checked. May download. Errors:
        WeightsError.
        """
        return {
            adapter.name: self.find_adapter(adapter, self.spec.max_lora_rank)
            for adapter in self.spec.adapters
        }

    def find_adapter(self, adapter: AdapterSpec, max_rank: int | None) -> Path:
        """The directory of an adapter that fits these weights and has at most `max_rank` (None:
        any). May download.

        Errors: WeightsError, ConfigurationError for an adapter with the model's own name.
        """
        if adapter.name == self.spec.served_name:
            raise ConfigurationError(
                f"An adapter cannot have the model's name {adapter.name!r}.", hint="Rename it."
            )
        path = resolve_adapter(adapter, self.settings.bentoml_home, self.token)
        facts = select_backend(self.spec, self.settings)[0].facts
        return check_adapter(
            path,
            self.weights_dir,
            max_rank,
            uniform=facts.uniform_adapters,
            experts=facts.expert_adapters,
        ).path

    @cached_property
    def family(self) -> type[LLMConfig]:
        """The family that the spec names, else the one that the weights are of."""
        if self.spec.family:
            return models.get(self.spec.family)
        return models.resolve(self.spec.model_id, architecture(self.weights_dir))

    @cached_property
    def own_family(self) -> type[LLMConfig]:
        """The family whose sampling and formats apply: `family` where the spec says that they do,
        or where the model is one of its own, as its id or its chat template and tokenizer show;
        else `generic`, which has none. Errors: WeightsError.
        """
        own = self.spec.family_defaults
        if own is None:
            own = self._is_own()
        return self.family if own else models.get(models.GENERIC)

    def _is_own(self) -> bool:
        family = self.family
        if family_of_id(self.spec.model_id, self.settings) is family:
            return True
        if not family.marks:
            return False
        template = self.renderer.source(tools=False)
        return family.is_shown_by(template, self.token_table.special_tokens)

    @cached_property
    def tokenizer(self) -> Any:
        """The transformers tokenizer. Errors: WeightsError."""
        found = load_tokenizer(self.weights_dir, trust_remote_code=self.spec.trust_remote_code)
        if self.spec.task != "generate" and self.modules.form.lower_case:
            lower_case(found)
        return found

    @cached_property
    def modules(self) -> ModuleChain:
        """What sentence-transformers wrote beside the weights. Errors: WeightsError,
        UnsupportedFeature.
        """
        return read_modules(self.weights_dir)

    @cached_property
    def pools_prompt(self) -> bool:
        """Whether a prompt before a text counts in the pooling. Errors: WeightsError."""
        return pools_prompt(self.weights_dir)

    @cached_property
    def renderer(self) -> ChatRenderer:
        """What makes token ids of texts and conversations."""
        template = self.spec.chat_template
        if template is None and not getattr(self.tokenizer, "chat_template", None):
            template = chat_template(self.weights_dir)
        return ChatRenderer(
            self.tokenizer,
            template,
            kwargs=self.spec.template_kwargs,
            image_mark=self.processor.mark if isinstance(self.processor, Processor) else None,
        )

    @cached_property
    def processor(self) -> Processor | str | None:
        """What prepares images; None for a model of texts, and why there is none for another."""
        if self.spec.task != "generate" or not looks_at_images(self.weights_dir):
            return None
        try:
            return load_processor(self.weights_dir, self.tokenizer)
        except (MissingDependency, WeightsError) as error:
            return error.text

    def sight(self, info: BackendInfo) -> Processor | str:
        """What prepares the images of requests to an engine that says `info` of itself; or why it
        is given none.
        """
        found = self.processor
        if isinstance(found, Processor) and info.images:
            return found
        return found if isinstance(found, str) else "it takes text only."

    @cached_property
    def labels(self) -> Labels:
        """The labels of a sequence-classification model. Errors: WeightsError,
        UnsupportedFeature.
        """
        return read_labels(self.weights_dir)

    @cached_property
    def decoding_tokenizer(self) -> Any:
        """The Rust tokenizer behind the transformers one, which the stream decoder steps through;
        for one written in Python a stand-in with its calls.
        """
        inner = getattr(self.tokenizer, "backend_tokenizer", None)
        return SlowTokenizer(self.tokenizer) if inner is None else inner

    @cached_property
    def token_table(self) -> TokenTable:
        """Single tokens as bytes and text, for logprobs."""
        return TokenTable(self.decoding_tokenizer)

    @cached_property
    def own_sampling(self) -> Mapping[str, Any]:
        """What the model's directory says requests should be sampled with."""
        return model_defaults(self.weights_dir)

    def sampling_params(self, overrides: Mapping[str, Any]) -> SamplingParams:
        """Overrides, then the spec's defaults, the model's own (generation_config.json), and those
        of the family, where the model is one of its own.

        Errors: InvalidRequest that names the parameter.
        """
        for name in overrides.keys() & _DEPLOYMENT:
            raise InvalidRequest(
                f"{name!r} is an option of the model, and not of what it is asked.",
                hint=f"Give it where the model is made: {option(name)}.",
                param=name,
            )
        weakest = self.own_family.sampling
        return build_params(overrides, self.spec.sampling, self.own_sampling, weakest)

    @property
    def default_max_tokens(self) -> int | None:
        """The length of an answer whose request says none; None: up to the context's end."""
        defaults = {**self.own_family.sampling, **self.spec.sampling}
        return defaults.get("max_new_tokens", defaults.get("max_tokens"))
