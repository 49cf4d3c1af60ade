"""Tiny random checkpoints of models that look at images: weights, tokenizer, and the files of
transformers' own processor; and what transformers answers with them.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tests.backends.pytorch.architectures import auto_class, configuration
from tests.tiny import write_tokenizer

SIDE = 28  # pixels of an image as the small vision parts take it

# Of each type the tokens that its tokenizer has beside the usual ones; the first stands for an
# image in a prompt.
MARKS: Mapping[str, tuple[str, ...]] = {
    "qwen2_vl": ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
    "qwen2_5_vl": ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
    "qwen3_vl": ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
    "qwen3_5": ("<|image_pad|>", "<|vision_start|>", "<|vision_end|>", "<|video_pad|>"),
    "llava": ("<image>",),
    "idefics3": ("<image>", "<fake_token_around_image>", "<end_of_utterance>", "<global-img>"),
    "gemma3": ("<image_soft_token>", "<start_of_image>", "<end_of_image>"),
    "mllama": ("<|image|>",),
}
# What a template writes where an image stands, if that is more than the first of its marks.
WRITTEN: Mapping[str, str] = {
    **dict.fromkeys(
        ("qwen2_vl", "qwen2_5_vl", "qwen3_vl", "qwen3_5"),
        "<|vision_start|><|image_pad|><|vision_end|>",
    ),
    "gemma3": "<start_of_image>",
}
# Each type's processor, its part for images and what that is told, and what the whole is told.
_QWEN = {"min_pixels": 28 * 28, "max_pixels": 84 * 84}
PROCESSORS: Mapping[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "qwen2_vl": ("Qwen2VLProcessor", "Qwen2VLImageProcessorPil", {**_QWEN, "patch_size": 14}, {}),
    "qwen2_5_vl": (
        "Qwen2_5_VLProcessor",
        "Qwen2VLImageProcessorPil",
        {**_QWEN, "patch_size": 14},
        {},
    ),
    "qwen3_vl": ("Qwen3VLProcessor", "Qwen2VLImageProcessorPil", {**_QWEN, "patch_size": 14}, {}),
    "qwen3_5": ("Qwen3VLProcessor", "Qwen2VLImageProcessorPil", {**_QWEN, "patch_size": 14}, {}),
    "llava": (
        "LlavaProcessor",
        "CLIPImageProcessorPil",
        {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}},
        {
            "patch_size": 14,
            "vision_feature_select_strategy": "default",
            "num_additional_image_tokens": 1,
        },
    ),
    "idefics3": (
        "Idefics3Processor",
        "Idefics3ImageProcessorPil",
        {"size": {"longest_edge": 2 * SIDE}, "max_image_size": {"longest_edge": SIDE}},
        {"image_seq_len": 1},
    ),
    "gemma3": (
        "Gemma3Processor",
        "Gemma3ImageProcessorPil",
        {"size": {"height": SIDE, "width": SIDE}},
        {"image_seq_length": 4},
    ),
    "mllama": (
        "MllamaProcessor",
        "MllamaImageProcessorPil",
        {"size": {"height": SIDE, "width": SIDE}, "max_image_tiles": 4},
        {},
    ),
}

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message['role'] }}|>"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'image' %}IMAGE"
    "{% else %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def picture(seed: int = 0, size: tuple[int, int] = (40, 56), *, kind: str = "PNG") -> bytes:
    """The file of an image of noise, `size` pixels wide and high."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (size[1], size[0], 3), generator=generator, dtype=torch.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(out, kind)
    return out.getvalue()


# Heads as wide as vLLM on a CPU takes them, and what goes with it.
WIDE: Mapping[str, Any] = {"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1}
WIDE_TURNS = [4, 6, 6]  # of Qwen's positions on three axes


def write_seeing(kind: str, path: Path, *, weights: bool = True, wide: bool = False) -> Path:
    """A directory as people have them of that type, with random weights in fp32, or with none for
    the echo engine; `wide` for vLLM.
    """
    write_tokenizer(path)
    ids = _add_marks(kind, path)
    config = configuration(kind)
    fields = config.to_dict() | _marks_of_config(kind, ids)
    for name, more in _beside(kind).items():
        fields[name] = {**fields[name], **more} if isinstance(more, dict) else more
    if wide:
        fields["text_config"] |= WIDE
        turns = fields["text_config"].get("rope_parameters") or {}
        if "mrope_section" in turns:
            turns["mrope_section"] = WIDE_TURNS
    config = type(config)(**fields)
    _write_processor(kind, path)
    if not weights:
        config.save_pretrained(path)
        return path
    torch.manual_seed(0)
    model = auto_class(kind).from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.2)
    model.save_pretrained(path)
    return path


def _add_marks(kind: str, path: Path) -> dict[str, int]:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path)
    tokenizer.add_special_tokens({"additional_special_tokens": list(MARKS[kind])})
    written = WRITTEN.get(kind, MARKS[kind][0])
    tokenizer.chat_template = TEMPLATE.replace("IMAGE", written)
    tokenizer.save_pretrained(path)
    if kind == "gemma3":
        file = path / "tokenizer_config.json"
        names = dict(zip(("image_token", "boi_token", "eoi_token"), MARKS[kind], strict=True))
        said = json.loads(file.read_text()) | names
        said["extra_special_tokens"] = names
        file.write_text(json.dumps(said))
    return {mark: tokenizer.convert_tokens_to_ids(mark) for mark in MARKS[kind]}


def _marks_of_config(kind: str, ids: Mapping[str, int]) -> dict[str, Any]:
    marks = list(ids.values())
    fields = {"image_token_id": marks[0], "image_token_index": marks[0]}
    if "qwen" in kind:
        names = ("image_token_id", "vision_start_token_id", "vision_end_token_id", "video_token_id")
        fields |= dict(zip(names, marks, strict=True))
    if kind == "gemma3":
        fields |= {"boi_token_index": marks[1], "eoi_token_index": marks[2]}
    return fields


def _beside(kind: str) -> dict[str, Any]:
    """What the two parts of a model need to fit each other."""
    if kind == "idefics3":
        return {"scale_factor": 2}
    if kind == "gemma3":
        return {"mm_tokens_per_image": 4}
    if kind == "qwen2_vl":
        return {"vision_config": {"hidden_size": 64}}
    if kind == "mllama":
        return {"vision_config": {"intermediate_layers_indices": [0], "vision_output_dim": 64}}
    if kind == "llava":
        return {"vision_feature_layer": -1, "image_seq_length": 4}
    return {}


def _write_processor(kind: str, path: Path) -> None:
    import transformers

    name, images, told, whole = PROCESSORS[kind]
    getattr(transformers, images)(**told).save_pretrained(path)
    file = path / "preprocessor_config.json"
    said = json.loads(file.read_text())
    file.write_text(json.dumps({**said, "processor_class": name}))
    (path / "processor_config.json").write_text(json.dumps({"processor_class": name, **whole}))


def inputs(kind: str, path: Path, text: str, files: Sequence[bytes]) -> dict[str, Any]:
    """What transformers' own processor makes of a prompt and its images."""
    import transformers

    name, images, _, whole = PROCESSORS[kind]
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    part = getattr(transformers, images).from_pretrained(path)

    class Still(getattr(transformers, name)):  # type: ignore[misc]
        """Without the part for videos, which needs torchvision."""

        def check_argument_for_proper_class(self, *_: Any) -> None: ...

    others = dict.fromkeys(Still.get_attributes())
    processor = Still(**{**others, "image_processor": part, "tokenizer": tokenizer, **whole})
    pictures = [Image.open(io.BytesIO(file)).convert("RGB") for file in files]
    made = processor(
        text=[text], images=pictures or None, add_special_tokens=False, return_tensors="pt"
    )
    return dict(made)


@functools.lru_cache(maxsize=1)
def _reference(kind: str, path: Path) -> Any:
    return auto_class(kind).from_pretrained(path, dtype=torch.float32).eval()


def answer(kind: str, path: Path, inputs: Mapping[str, Any], new: int) -> tuple[list[int], Any]:
    """transformers' greedy answer to what its processor has made, and the gap at each token."""
    out = _reference(kind, path).generate(
        **inputs,
        do_sample=False,
        max_new_tokens=new,
        min_new_tokens=new,
        eos_token_id=None,
        return_dict_in_generate=True,
        output_logits=True,
    )
    best = [logits[0].float().topk(2).values for logits in out.logits]
    return out.sequences[0, -new:].tolist(), [float(two[0] - two[1]) for two in best]
