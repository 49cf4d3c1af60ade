"""What a classifier's files say of its labels and of what its logits become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from openllm.errors import UnsupportedFeature
from openllm.weights.labels import SETTINGS, is_classifier, label_names, read_labels

ONE = {"id2label": {"0": "LABEL_0"}}
TWO = {"id2label": {"1": "yes", "0": "no"}}
IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


def write(directory: Path, config: dict[str, Any], **settings: Any) -> Path:
    (directory / "config.json").write_text(json.dumps(config))
    if settings:
        (directory / SETTINGS).write_text(json.dumps(settings))
    return directory


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (TWO, ("no", "yes")),
        ({"id2label": {str(at): f"{at}" for at in range(11)}}, tuple(map(str, range(11)))),
        ({"num_labels": 1}, ("LABEL_0",)),
        ({}, ("LABEL_0", "LABEL_1")),
    ],
)
def test_names(config: dict[str, Any], names: tuple[str, ...]) -> None:
    assert label_names(config) == names


@pytest.mark.parametrize(
    ("config", "settings", "activation"),
    [
        (ONE, {}, "sigmoid"),
        (TWO, {}, "softmax"),
        ({**ONE, "sentence_transformers": {"activation_fn": IDENTITY}}, {}, "identity"),
        ({**ONE, "sbert_ce_default_activation_function": IDENTITY}, {}, "identity"),
        ({**ONE, "problem_type": "regression"}, {}, "identity"),
        ({**TWO, "problem_type": "multi_label_classification"}, {}, "sigmoid"),
        ({**ONE, "problem_type": "single_label_classification"}, {}, "sigmoid"),
        (TWO, {"activation_fn": SIGMOID}, "sigmoid"),
        (
            {**ONE, "sentence_transformers": {"activation_fn": IDENTITY}},
            {"prompts": {}},
            "identity",
        ),
        (ONE, {"activation_fn": None}, "sigmoid"),
    ],
)
def test_activations(
    tmp_path: Path, config: dict[str, Any], settings: dict[str, Any], activation: str
) -> None:
    assert read_labels(write(tmp_path, config, **settings)).activation == activation


@pytest.mark.parametrize("name", ["torch.nn.modules.activation.GLU", "os.system", "Sigmoid"])
def test_an_unknown_activation_is_refused_and_nothing_is_imported(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(UnsupportedFeature, match=name.replace(".", r"\.")):
        read_labels(write(tmp_path, ONE, activation_fn=name))


def test_classifiers_are_told_by_their_architecture() -> None:
    assert is_classifier({"architectures": ["XLMRobertaForSequenceClassification"]})
    assert not is_classifier({"architectures": ["BertForTokenClassification"]})
    assert not is_classifier({"architectures": None})
    assert not is_classifier({})
