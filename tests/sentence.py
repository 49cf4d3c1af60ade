"""Directories as sentence-transformers 6 writes them, for tests; what they hold was compared with
what that package reads and writes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import tiny

BASE = "sentence_transformers.base.modules"
KINDS = {
    "Transformer": f"{BASE}.transformer.Transformer",
    "Pooling": "sentence_transformers.sentence_transformer.modules.pooling.Pooling",
    "Dense": f"{BASE}.dense.Dense",
    "Normalize": f"{BASE}.normalize.Normalize",
    "LayerNorm": "sentence_transformers.sentence_transformer.modules.layer_norm.LayerNorm",
    "LogitScore": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
}
TEMPLATE = (
    "{{ '<s>' }}{% for m in messages %}{{ '<' + m.role + '>: ' + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'answer' }}{% endif %}"
)
Module = tuple[str, Mapping[str, Any]]  # its class, and its config.json


def write_modules(
    path: Path,
    *modules: Module,
    transformer: str = "",
    settings: Mapping[str, Any] | None = None,
    form: Mapping[str, Any] | None = None,
) -> Path:
    """Add modules to the model in `path`: `settings` of config_sentence_transformers.json, `form`
    of sentence_bert_config.json. A class with a dot in it is written as it is.
    """
    entries = [_entry(0, transformer, "Transformer")]
    for at, (name, fields) in enumerate(modules, 1):
        folder = f"{at}_{name.rpartition('.')[2]}"
        entries.append(_entry(at, folder, name))
        (path / folder).mkdir(exist_ok=True)
        (path / folder / "config.json").write_text(json.dumps(fields))
    (path / "modules.json").write_text(json.dumps(entries))
    if settings is not None:
        (path / "config_sentence_transformers.json").write_text(json.dumps(settings))
    if form is not None:
        (path / transformer / "sentence_bert_config.json").write_text(json.dumps(form))
    return path


def _entry(at: int, folder: str, name: str) -> dict[str, Any]:
    return {"idx": at, "name": str(at), "path": folder, "type": KINDS.get(name, name)}


def write_tensors(folder: Path, shapes: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """Random weights in `folder`, and the tensors by their names."""
    import torch
    from safetensors.torch import save_file

    numbers = torch.Generator().manual_seed(len(shapes))
    tensors = {name: torch.randn(*shape, generator=numbers) for name, shape in shapes.items()}
    save_file(tensors, folder / "model.safetensors")
    return tensors


def without_template(path: Path) -> Path:
    """Take the chat template out of the tokenizer in `path`."""
    (path / "chat_template.jinja").unlink(missing_ok=True)
    file = path / "tokenizer_config.json"
    said = json.loads(file.read_text())
    said.pop("chat_template", None)
    file.write_text(json.dumps(said))
    return path


def write_answering(path: Path, *, false: int | None, kind: str = "qwen3") -> Path:
    """A reranker of a language model, as CrossEncoder writes it."""
    getattr(tiny, f"write_{kind}")(path)
    without_template(path)
    (path / "chat_template.jinja").write_text(TEMPLATE)
    logits = {"method": "forward", "method_output_name": "logits"}
    return write_modules(
        path,
        ("LogitScore", {"true_token_id": 7, "false_token_id": false}),
        settings={
            "model_type": "CrossEncoder",
            "prompts": {"web": "Find it."},
            "default_prompt_name": "web",
            "activation_fn": "torch.nn.modules.linear.Identity",
        },
        form={
            "transformer_task": "text-generation",
            "modality_config": {"text": logits, "message": {**logits, "format": "flat"}},
            "module_output_name": "causal_logits",
            "processing_kwargs": {"chat_template": {"add_generation_prompt": True}},
        },
    )
