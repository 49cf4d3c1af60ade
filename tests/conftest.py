"""Property tests have no limit per example: hypothesis' own, 200 ms, tells of the machine alone."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):  # the environments of other suites have no hypothesis
    from hypothesis import settings

    settings.register_profile("untimed", deadline=None)
    settings.load_profile("untimed")
