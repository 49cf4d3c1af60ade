"""The arithmetic of `make bench-guard`: what it says of figures that it has measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import guard
from benchmarks.guard import Slice, complaint, figure, verdicts

KEPT = {"engine": 0.5, "front": 2.0, "request": 0.8}


def times(factor: float, *layers: str) -> dict[str, float]:
    return {name: kept * (factor if name in layers else 1.0) for name, kept in KEPT.items()}


def test_a_layer_at_1_3_times_what_is_kept_is_named_and_no_other() -> None:
    said = complaint(verdicts(times(1.3, "front"), KEPT))
    assert said is not None
    assert "front (1.30x)" in said
    assert "engine" not in said
    assert "request" not in said


def test_a_layer_at_1_2_times_what_is_kept_passes_and_so_does_a_faster_one() -> None:
    assert complaint(verdicts(times(1.2, *KEPT), KEPT)) is None
    assert complaint(verdicts(times(0.5, *KEPT), KEPT)) is None


def test_several_are_named_the_lowest_first() -> None:
    said = complaint(verdicts(times(1.3, "request", "engine"), KEPT))
    assert said is not None
    assert said.index("engine (1.30x)") < said.index("request (1.30x)")


def test_a_machine_that_slows_all_down_changes_nothing() -> None:
    quiet = Slice(0.06, 300, (0.01, 0.01), 100)
    busy = Slice(0.09, 300, (0.013, 0.017), 100)
    assert quiet.multiple == pytest.approx(2.0)
    assert busy.multiple == pytest.approx(quiet.multiple)


def test_slices_that_other_work_has_hit_do_not_move_the_figure() -> None:
    usual = [Slice(0.06, 300, (0.01, 0.01), 100)] * 5
    hit = [Slice(0.6, 300, (0.01, 0.01), 100)] * 4
    assert figure([*usual, *hit]) == pytest.approx(2.0)


@pytest.mark.parametrize("found", [{**KEPT, "new": 1.0}, {"engine": 0.5}])
def test_layers_other_than_those_kept_are_an_error(found: dict[str, float]) -> None:
    with pytest.raises(SystemExit, match="--write"):
        verdicts(found, KEPT)


@pytest.mark.parametrize("factor", [1.2, 1.3])
def test_the_command_fails_beyond_the_limit(
    factor: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def run(*_: object) -> dict[str, float]:
        return times(factor, "front")

    kept = tmp_path / "guard.json"
    kept.write_text(json.dumps({**guard.versions(), "multiples": KEPT}))
    monkeypatch.setattr(guard, "KEPT", kept)
    monkeypatch.setattr(guard, "run", run)
    monkeypatch.setattr("sys.argv", ["guard"])
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    if factor < guard.LIMIT:
        guard.main()
        return
    with pytest.raises(SystemExit, match=r"front \(1\.30x\)"):
        guard.main()


def test_what_is_kept_has_figures_above_zero() -> None:
    document = json.loads(guard.KEPT.read_text())
    assert document["multiples"]
    assert all(multiple > 0 for multiple in document["multiples"].values())
