"""Runs as a picture of four diagrams over the levels of load: drawn as shapes, written as SVG or
PNG.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

import attrs

from openllm.cli.bench.figures import BenchRun, Figures
from openllm.errors import ConfigurationError, MissingDependency

WIDTH, HEIGHT = 960, 640  # of the picture, in its own units
COLOURS = ("#1f5fbf", "#c8501e")  # of the first and the second run
INK, GRID = "#222222", "#dddddd"
TICKS = 4
_SCALE = 2  # pixels of a PNG for each unit
Point = tuple[float, float]


@attrs.frozen
class Path2D:
    """A line through points."""

    points: tuple[Point, ...]
    colour: str
    width: float = 1.0
    dashed: bool = False


@attrs.frozen
class Label:
    """A text at a point: `anchor` is start, middle or end of it."""

    at: Point
    text: str
    size: int = 12
    anchor: str = "start"
    colour: str = INK


@attrs.frozen
class Panel:
    """One diagram: its title, and lines by what they show of a level."""

    title: str
    lines: Sequence[tuple[str, Callable[[Figures], float]]]


PANELS = (
    Panel("tokens/s", [("", lambda level: level.output_tokens_per_second)]),
    Panel(
        "time to first token, ms (p50, p99 dashed)",
        [("", lambda level: level.ttft_ms.p50), ("p99", lambda level: level.ttft_ms.p99)],
    ),
    Panel(
        "between tokens, ms (p50, p99 dashed)",
        [("", lambda level: level.itl_ms.p50), ("p99", lambda level: level.itl_ms.p99)],
    ),
    Panel(
        "requests/s (dashed: that kept the limits)",
        [
            ("", lambda level: level.requests_per_second),
            ("good", lambda level: level.goodput or 0.0),
        ],
    ),
)
Drawing = list[Path2D | Label]


def draw(runs: Sequence[tuple[str, BenchRun]]) -> Drawing:
    """The picture of one run or two, each with its name."""
    names = list(dict.fromkeys(level.level for _, run in runs for level in run.levels))
    found: Drawing = []
    for at, (name, run) in enumerate(runs):
        top = 22.0 + 20 * at
        found.append(Path2D(((20, top - 4), (44, top - 4)), COLOURS[at], 3))
        found.append(Label((52, top), f"{name}: {run.model} at {run.endpoint}, {run.made}", 13))
    streams = all(level.rate is None for _, run in runs for level in run.levels)
    across = "across: streams at once" if streams else "across: requests per second"
    found.append(Label((WIDTH - 20, HEIGHT - 12), across, 12, "end"))
    for at, panel in enumerate(PANELS):
        left, top = 60 + at % 2 * (WIDTH // 2), 90 + at // 2 * 280
        found += _panel(panel, [run for _, run in runs], names, (left, top))
    return found


def _panel(panel: Panel, runs: Sequence[BenchRun], names: Sequence[str], corner: Point) -> Drawing:
    left, top = corner
    width, height = WIDTH / 2 - 90, 200.0
    values = [of(level) for run in runs for level in run.levels for _, of in panel.lines]
    most = nice(max(values, default=0.0))
    across = {name: (at + 0.5) * width / len(names) + left for at, name in enumerate(names)}

    def down(value: float) -> float:
        return top + height * (1 - value / most)

    found: Drawing = [Label((left, top - 14), panel.title, 14)]
    for tick in range(TICKS + 1):
        value = most * tick / TICKS
        found.append(Path2D(((left, down(value)), (left + width, down(value))), GRID))
        found.append(Label((left - 6, down(value) + 4), f"{value:,.4g}", 11, "end"))
    found += [Label((x, top + height + 18), name, 11, "middle") for name, x in across.items()]
    for at, run in enumerate(runs):
        for name, of in panel.lines:
            points = tuple((across[level.level], down(of(level))) for level in run.levels)
            if name != "good" or run.limits_ms:
                found.append(Path2D(points, COLOURS[at], 2, dashed=bool(name)))
                found += [_dot(point, COLOURS[at]) for point in points]
    return found


def _dot(point: Point, colour: str) -> Path2D:
    x, y = point
    return Path2D(((x - 2, y), (x + 2, y)), colour, 4)


def nice(value: float) -> float:
    """The smallest of 1, 2, 4, 5, 8, 10 and their multiples by powers of ten that is not below."""
    if value <= 0 or not math.isfinite(value):
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 4, 5, 8, 10) if step * power >= value * 0.999999)


def write_plot(path: Path, runs: Sequence[tuple[str, BenchRun]]) -> None:
    """Draw `runs` into a file, as its ending says. Errors: ConfigurationError,
    MissingDependency.
    """
    check_plot(path)
    shapes = draw(runs)
    if path.suffix.lower() == ".svg":
        path.write_text(_svg(shapes), encoding="utf-8")
    else:
        _png(shapes, path)


def check_plot(path: Path) -> None:
    """Errors: ConfigurationError for a file that cannot be drawn, MissingDependency."""
    if path.suffix.lower() not in {".svg", ".png"}:
        raise ConfigurationError(
            f"{path} is neither an SVG nor a PNG.", hint="Let its name end with .svg or .png."
        )
    if path.suffix.lower() == ".png":
        try:
            import PIL  # noqa: F401
        except ImportError:
            raise MissingDependency(
                "A PNG is drawn with Pillow, which is not installed.",
                hint="pip install pillow, or write an .svg.",
            ) from None


def _svg(shapes: Drawing) -> str:
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for shape in shapes:
        if isinstance(shape, Label):
            x, y = shape.at
            where = f'x="{x:g}" y="{y:g}" text-anchor="{shape.anchor}"'
            look = f'font-family="sans-serif" font-size="{shape.size}" fill="{shape.colour}"'
            lines.append(f"<text {where} {look}>{escape(shape.text)}</text>")
            continue
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        dashes = ' stroke-dasharray="6 4"' if shape.dashed else ""
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{shape.colour}"'
            f' stroke-width="{shape.width:g}"{dashes}/>'
        )
    return "\n".join([*lines, "</svg>", ""])


def _png(shapes: Drawing, path: Path) -> None:
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), "#ffffff")
    pen = ImageDraw.Draw(image)
    anchors = {"start": "ls", "middle": "ms", "end": "rs"}
    for shape in shapes:
        if isinstance(shape, Label):
            x, y = shape.at
            font = ImageFont.load_default(shape.size * _SCALE)
            where = (x * _SCALE, y * _SCALE)
            pen.text(where, shape.text, shape.colour, font, anchor=anchors[shape.anchor])
            continue
        points = [(x * _SCALE, y * _SCALE) for x, y in shape.points]
        pieces = dashes(points) if shape.dashed else [points]
        for piece in pieces:
            pen.line(piece, shape.colour, round(shape.width * _SCALE), joint="curve")
    image.save(path)


def dashes(points: Sequence[Point], on: float = 12.0, off: float = 8.0) -> list[list[Point]]:
    """The strokes of a dashed line."""
    found: list[list[Point]] = []
    at = 0.0  # since the last stroke began
    for (x, y), (to_x, to_y) in pairwise(points):
        length, gone = math.dist((x, y), (to_x, to_y)), 0.0
        while gone < length:
            step = min((on if at < on else on + off) - at, length - gone)
            if at < on:
                found.append(
                    [
                        (x + (to_x - x) * part / length, y + (to_y - y) * part / length)
                        for part in (gone, gone + step)
                    ]
                )
            gone, at = gone + step, (at + step) % (on + off)
    return found
