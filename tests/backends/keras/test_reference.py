"""The numpy models are transformers' models: without this, what KerasHub is held against would
prove nothing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.backends.keras.checkpoints import CONFIGS, VOCAB, write_checkpoint
from tests.backends.keras.reference import NumpyModel


@pytest.mark.parametrize("name", CONFIGS)
def test_the_numpy_model_gives_the_logits_of_transformers(tmp_path: Path, name: str) -> None:
    torch = pytest.importorskip(
        "torch", reason="comparing with transformers needs torch: pip install torch"
    )
    from transformers import AutoModelForCausalLM

    path = write_checkpoint(tmp_path / name, name)
    token_ids = (np.arange(70) * 31 + 5) % VOCAB
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model(torch.from_numpy(token_ids)[None]).logits[0].numpy()
    assert (
        np.abs(NumpyModel(path).logits(token_ids) - expected).max() < 1e-4 * np.abs(expected).max()
    )
