"""The threads that compute: their CUDA device, and how many cores they take."""

from __future__ import annotations

import torch

from openllm.hardware.memory import physical_cores


def prepare_thread(device: torch.device) -> None:
    """Set up the calling thread for computing: its CUDA device, and torch's threads bounded by the
    cores for us.

    A smaller OMP_NUM_THREADS stays, for torch has read it by itself.
    """
    torch.set_num_threads(max(1, min(torch.get_num_threads(), physical_cores())))
    if device.type == "cuda":
        torch.cuda.set_device(device)
