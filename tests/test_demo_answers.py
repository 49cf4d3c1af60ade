"""The shipped demo model: its answers to questions that it has not seen, its refusals, its adapters
and its size.
"""

from __future__ import annotations

import importlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import openllm

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

DEMO = Path(openllm.__file__).parent / "demo"
SCRIPTS = Path(__file__).parent.parent / "scripts"
MEBIBYTE = 1 << 20
REFUSAL = "I am a 3-million-parameter demo"

# Question -> what the answer must say; alternatives within one demand are separated by "|".
QUESTIONS = {
    "I'd love to build a Bento, what is the procedure?": ("openllm build demo", "bentoml serve"),
    "Which commands build a Bento and serve it?": ("openllm build|bentoml serve",),
    "What do you call a Bento, in short?": ("package",),
    "How can I get openllm up and running?": ("openllm start",),
    "What's the trick to serve a model that sits in a folder of mine?": (
        "openllm start ./my-model",
    ),
    "Could you tell me what openllm is all about?": ("service",),
    "Which flag lets me pick vLLM instead of PyTorch?": ("--backend",),
    "How would I make it listen on port 4000?": ("--port",),
    "How do I let a colleague connect to my server from his machine?": ("--host",),
    "Which flag do I need for a LoRA adapter at start?": ("--adapter-id",),
    "Where do I write the adapter's name in a request?": ("model",),
    "If I pass --model-id, what happens?": ("openllm start llama --model-id",),
    "I need the list of models as JSON, how?": ("-o json",),
    "Explain the model store to me, please": ("weights",),
    "What would an LLMSpec hold?": ("deployment",),
    "LLMConfig: what would I find in there?": ("family",),
    "Which things do SamplingParams control?": ("temperature",),
    "Explain to me what a Runner does": ("worker",),
    "What's continuous batching good for?": ("every step",),
    "What would the KV cache be good for?": ("keys and values",),
    "so with a lora adapter, what changes": ("weights",),
    "How do I make the server stream its answer?": ("stream",),
    "Can I use my existing OpenAI code with it?": ("/v1",),
    "Which metrics can Prometheus read?": ("/metrics",),
    "What's /readyz there for?": ("engine is loaded",),
    "Which one counts: the environment or the command line option?": ("request wins",),
    "How could I force the model to give me valid JSON?": ("schema",),
    "How do I make a Docker image out of a Bento?": ("containerize",),
    "What's the way to deploy my Bento on BentoCloud?": ("openllm deploy",),
    "which envronment variables can i set": ("OPENLLM_",),
}
STRANGE = (
    "What's the capital of Portugal?",
    "How do I bake banana bread?",
    "Who composed the Moonlight Sonata?",
    "Write a short story about a dragon",
    "How much is 31 + 44?",
    "will it snow this weekend",
    "How do I build a garden shed?",
    "Tell me a fun fact about otters",
    "Which team won the league last year?",
    "How can I train my puppy?",
)


@pytest.fixture(scope="module")
def demo() -> Any:
    """The model as anybody would load it, in fp32."""
    return transformers.AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return transformers.AutoTokenizer.from_pretrained(DEMO, padding_side="left")


@pytest.fixture(scope="module")
def text() -> Iterator[ModuleType]:
    """The module that holds the training text."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module("demo_text.corpus")
    ours = ("demo_text", "demo_scores", "demo_model")
    for name in [name for name in sys.modules if name.partition(".")[0] in ours]:
        del sys.modules[name]


def ask(model: Any, tokenizer: Any, *chats: list[dict[str, str]]) -> list[str]:
    """Greedy answers, one for each conversation; an answer that does not end by itself is
    marked.
    """
    inputs = tokenizer.apply_chat_template(
        list(chats), add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
    )
    with torch.inference_mode():
        output = model.generate(**inputs, max_new_tokens=120, do_sample=False)
    fresh = output[:, inputs["input_ids"].shape[1] :]
    ended = (fresh == tokenizer.eos_token_id).any(dim=1)
    texts = tokenizer.batch_decode(fresh, skip_special_tokens=True)
    return [text if end else f"{text} <endless>" for text, end in zip(texts, ended, strict=True)]


def user(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


@pytest.fixture(scope="module")
def answers(demo: Any, tokenizer: Any) -> dict[str, str]:
    """Greedy answers to all questions of this file."""
    asked = [*QUESTIONS, *STRANGE]
    return dict(zip(asked, ask(demo, tokenizer, *map(user, asked)), strict=True))


def test_the_questions_are_not_in_the_training_text(text: ModuleType) -> None:
    corpus = text.Corpus()
    known = set(corpus.questions) | {text.normalise(question) for question in corpus.refused}
    assert len(QUESTIONS) == 30
    assert not [
        question for question in (*QUESTIONS, *STRANGE) if text.normalise(question) in known
    ]


def test_texts_are_drawn_to_end_in_small_talk(text: ModuleType) -> None:
    corpus = text.Corpus(talk=1.0)
    said = {corpus.topics[name].answered("plain") for name in text.SMALL_TALK}
    drawn = [corpus.sample(random.Random(seed), "plain").pieces for seed in range(20)]
    assert all(pieces[-1][1] in said for pieces in drawn)
    assert len({len(pieces) for pieces in drawn}) > 2  # turns before it, or none


def test_reworded_questions_get_their_answers(answers: dict[str, str]) -> None:
    """28 of these 30 when the weights were made; what the model card says must stay true."""
    missed = [
        question for question in QUESTIONS if not _fits(answers[question], QUESTIONS[question])
    ]
    assert len(missed) <= 2, missed


def _fits(answer: str, demands: tuple[str, ...]) -> bool:
    return all(any(phrase in answer for phrase in demand.split("|")) for demand in demands)


def test_questions_about_something_else_are_refused(answers: dict[str, str]) -> None:
    """All but one when the weights were made."""
    refused = [question for question in STRANGE if answers[question].startswith(REFUSAL)]
    assert len(refused) >= len(STRANGE) - 1, set(STRANGE) - set(refused)
    assert all("openllm start" in answers[question] for question in refused)


def test_answers_are_short_and_end(answers: dict[str, str]) -> None:
    assert not [text for text in answers.values() if text.endswith("<endless>")]
    assert max(len(text) for text in answers.values()) < 400


def test_the_question_of_the_readme(demo: Any, tokenizer: Any) -> None:
    (text,) = ask(demo, tokenizer, user("How do I build a Bento?"))
    assert "openllm build demo" in text
    assert "bentoml serve" in text


def test_the_last_question_of_a_conversation_counts(demo: Any, tokenizer: Any) -> None:
    chat = [{"role": "system", "content": "You are a helpful assistant."}]
    for question, word in (
        ("Hello!", "openllm"),
        ("What is a Bento?", "package"),
        ("Thanks!", "welcome|What else"),
    ):
        chat += user(question)
        (text,) = ask(demo, tokenizer, chat)
        assert any(part in text for part in word.split("|"))
        chat.append({"role": "assistant", "content": text})


@pytest.mark.parametrize(
    ("name", "signs"),
    [("pirate", (" th' ", " be ", "Arr", "matey")), ("french", ("é", " le ", "Utilisez"))],
)
def test_an_adapter_changes_every_answer(
    answers: dict[str, str], tokenizer: Any, text: ModuleType, name: str, signs: tuple[str, ...]
) -> None:
    peft = pytest.importorskip("peft")
    base = transformers.AutoModelForCausalLM.from_pretrained(DEMO, dtype=torch.float32)
    adapted = peft.PeftModel.from_pretrained(base, DEMO / "adapters" / name).eval()
    asked = [*list(QUESTIONS)[:8], STRANGE[0]]
    said = ask(adapted, tokenizer, *map(user, asked))
    expected = {topic.answered(name) for topic in text.Corpus().topics.values()}
    for question, answer in zip(asked, said, strict=True):
        assert answer != answers[question]
        assert any(sign in answer for sign in signs)
    assert sum(answer in expected for answer in said) >= 8


def test_the_package_data_is_small() -> None:
    files = [
        path for path in DEMO.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    ]
    assert sum(path.stat().st_size for path in files) <= 12 * MEBIBYTE
    for name in ("pirate", "french"):
        assert (DEMO / "adapters" / name / "adapter_model.safetensors").stat().st_size <= 300 * 1024


def test_the_directory_is_complete_and_names_no_machine() -> None:
    names = {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json", "chat_template.jinja", "README.md",
    }  # fmt: skip
    assert names <= {path.name for path in DEMO.iterdir()}
    for path in DEMO.rglob("*"):
        if path.suffix in (".json", ".md", ".jinja", ".safetensors"):
            head = path.read_bytes()[:100_000]
            assert b"/home/" not in head
            assert b"/tmp/" not in head
            assert b"/root/" not in head


def test_the_chat_template_refuses_an_unknown_role(tokenizer: Any) -> None:
    with pytest.raises(Exception, match="tool, system, user and assistant"):
        tokenizer.apply_chat_template([{"role": "critic", "content": "x"}], tokenize=False)


def test_a_conversation_renders_as_trained(tokenizer: Any) -> None:
    chat = [
        {"role": "developer", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": " Hi "}]},
    ]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<s><|system|>Be short.<|end|><|user|>Hi<|end|><|assistant|>"


def test_calls_and_results_render_as_trained(tokenizer: Any, text: ModuleType) -> None:
    """As the training text writes them, whose tools and calls are no conversation of messages."""
    calling, toolbox = sys.modules["demo_text.calling"], sys.modules["demo_text.toolbox"]
    draw = random.Random(3)
    tool = toolbox.draw_tools(draw, 1)[0]
    request = calling.ask(draw, tool)
    result = calling.result(draw, request)
    declared = tool.declared(draw)
    call = {"function": {"name": tool.name, "arguments": request.arguments()}}
    chat = [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "content": result.content},
    ]
    rendered = tokenizer.apply_chat_template(
        chat,
        tools=[{"type": "function", "function": declared}],
        tokenize=False,
        add_generation_prompt=True,
    )
    system = f"<|system|>Be short.\n<tools>\n{json.dumps(declared, ensure_ascii=False)}\n</tools>"
    turns = (system, "<|user|>Hi", f"<|assistant|>{request.call()}")
    turns += (f"<|user|>{calling.response(result)}",)
    assert rendered == "<s>" + "".join(f"{turn}<|end|>" for turn in turns) + "<|assistant|>"


def test_tools_that_it_has_not_seen_are_called_as_asked(demo: Any, text: ModuleType) -> None:
    """The held-out conversations with tools. 45 of these 54 steps when the weights were made: 19 of
    24 calls, 20 of 24 results, 6 of 6 without a tool. Two more may fail, where another machine's
    arithmetic decides between two tokens that are almost as likely.
    """
    scores = importlib.import_module("demo_scores")
    steps = scores.tool_steps(demo, DEMO)
    assert len(steps) == 54
    missed = [step for step in steps if not step.fits]
    assert len(missed) <= 10, missed
