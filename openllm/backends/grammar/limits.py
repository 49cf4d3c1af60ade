"""What following structures may cost."""

from __future__ import annotations

import attrs


@attrs.frozen
class GrammarLimits:
    """Seconds are of CPU time, so that a busy machine refuses nothing that a quiet one takes."""

    quick_seconds: float = 2.0  # to compile, in the lane where most are
    compile_seconds: float = 20.0  # to compile
    trial: int = 8  # tokens that are drawn at random before a structure is admitted
    trial_length: int = 32  # of these, then from the beginning
    trial_seconds: float = 1.0  # for one of those
    mask_seconds: float = 1.0  # to take over one token and say what may come next
    request_seconds: float = 30.0  # for all tokens of one request
    memory: int = 256 * 2**20  # bytes, for one structure
    total_memory: int = 2 * 2**30  # bytes, for all that are kept
    answer_seconds: float = 120.0  # by the clock: a process that says nothing for so long is ended
