"""Charts as inline SVG whose colours are the page's: they follow its light and its dark, and need nothing else."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 12, 42


@dataclass(frozen=True)
class Series:
    """One line or set of points.

    Attributes:
        name: in the legend.
        xs: of the points.
        ys: of the points, as many; None leaves a gap.
        colour: 0..5, of the page's palette.
        style: "line", "dots" for a line with its points marked, or "crosses" for points alone.
        labels: a text for each point, shown when it is pointed at.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float | None]
    colour: int = 0
    style: str = "line"
    labels: Sequence[str] = ()


def lines(
    series: Sequence[Series],
    alt: str,
    *,
    x: str,
    y: str,
    x_limits: tuple[float, float] | None = None,
    y_limits: tuple[float, float] | None = None,
    log: bool = False,
    falling: bool = False,
) -> str:
    """A chart of lines with axes and a legend, as a figure's HTML.

    Args:
        series: at least one point in all.
        alt: what the chart shows, for those who cannot see it.
        x: label of the horizontal axis.
        y: label of the vertical axis.
        x_limits: of the horizontal axis; default: those of the data.
        y_limits: likewise.
        log: the vertical axis is logarithmic; values must be positive.
        falling: the horizontal axis runs from large to small.
    """
    xs = [float(value) for each in series for value in each.xs]
    ys = [float(value) for each in series for value in each.ys if value is not None]
    if not xs or not ys:
        raise ValueError("charts: nothing to draw; at least one point is needed")
    low_x, high_x = x_limits or _wide(min(xs), max(xs), 0.03)
    low_y, high_y = y_limits or (_wide(min(ys), max(ys), 0.08) if not log else (min(ys) / 1.2, max(ys) * 1.2))

    def at_x(value: float) -> float:
        share = (value - low_x) / (high_x - low_x)
        return _LEFT + (1 - share if falling else share) * (WIDTH - _LEFT - _RIGHT)

    def at_y(value: float) -> float:
        share = math.log(value / low_y, high_y / low_y) if log else (value - low_y) / (high_y - low_y)
        return HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM)

    drawn = [
        *(_rule(_LEFT, at_y(value), WIDTH - _RIGHT, at_y(value), "grid") for value in _ticks(low_y, high_y, log)),
        *(_text(_LEFT - 6, at_y(value) + 4, _short(value), "end") for value in _ticks(low_y, high_y, log)),
        *(_text(at_x(value), HEIGHT - _BOTTOM + 16, _short(value), "middle") for value in _ticks(low_x, high_x)),
        _rule(_LEFT, HEIGHT - _BOTTOM, WIDTH - _RIGHT, HEIGHT - _BOTTOM, "axis"),
        _text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x, "middle"),
        f'<text transform="translate(12 {(HEIGHT - _BOTTOM + _TOP) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y)}</text>",
    ]
    for each in series:
        points = [(at_x(a), at_y(b)) for a, b in zip(each.xs, each.ys, strict=True) if b is not None]
        texts = list(each.labels) or [""] * len(points)
        if each.style != "crosses":
            joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
            drawn.append(f'<polyline class="line c{each.colour}" points="{joined}"/>')
        if each.style != "line":
            drawn += [_mark(a, b, each, text) for (a, b), text in zip(points, texts, strict=True)]
    return _figure(drawn, (WIDTH, HEIGHT), alt, [(each.name, each.colour) for each in series])


def bars(
    names: Sequence[str],
    heights: Sequence[float],
    line: Sequence[float],
    marked: Sequence[str],
    alt: str,
    *,
    y: str,
    legend: tuple[str, str, str],
    top: float,
) -> str:
    """Bars with names below and a line over them, as the HTML of a figure that is wide and scrolls.

    Args:
        names: of the bars.
        heights: of the bars; cut at `top`.
        line: value over each bar; cut likewise.
        marked: names of bars in the second colour.
        alt: what the chart shows, for those who cannot see it.
        y: label of the vertical axis.
        legend: of bars, marked bars, line.
        top: upper end of the vertical axis.
    """
    step, bottom, height = 13, 108, 330
    width = _LEFT + _RIGHT + step * len(names)
    low = min(0.0, *heights, *line)

    def at_y(value: float) -> float:
        return height - bottom - (min(value, top) - low) / (top - low) * (height - bottom - _TOP)

    ticks = _ticks(low, top)
    drawn = [_rule(_LEFT, at_y(value), width - _RIGHT, at_y(value), "grid") for value in ticks]
    drawn += [_text(_LEFT - 6, at_y(value) + 4, _short(value), "end") for value in ticks]
    drawn.append(
        f'<text transform="translate(12 {(height - bottom) / 2:.0f}) rotate(-90)" text-anchor="middle">'
        f"{escape(y)}</text>"
    )
    points = []
    for place, (name, value, over) in enumerate(zip(names, heights, line, strict=True)):
        left, upper = _LEFT + step * place, at_y(max(value, 0.0))
        colour = 1 if name in marked else 5
        drawn.append(
            f'<rect class="bar c{colour}" x="{left + 1.5:.1f}" y="{upper:.1f}" width="{step - 3}" '
            f'height="{max(at_y(min(value, 0.0)) - upper, 0):.1f}"><title>{escape(name)}: {value:.1f}</title></rect>'
        )
        drawn.append(
            f'<text class="small" transform="translate({left + step / 2 + 3:.1f} {height - bottom + 6}) rotate(-90)" '
            f'text-anchor="end">{escape(name)}</text>'
        )
        points.append(f"{left + step / 2:.1f},{at_y(over):.1f}")
    drawn.append(f'<polyline class="line c0" points="{" ".join(points)}"/>')
    named = list(zip(legend, (5, 1, 0), strict=True))
    return _figure(drawn, (width, height), alt, named, wide=True)


def _figure(
    drawn: Sequence[str], size: tuple[int, int], alt: str, legend: Sequence[tuple[str, int]], *, wide: bool = False
) -> str:
    width, height = size
    # At its own size text is readable; what is wider than the screen scrolls.
    style = f' style="width:{width}px"' if wide else ""
    keys = " ".join(
        f'<span class="entry"><span class="key c{colour}"></span>{escape(name)}</span>' for name, colour in legend
    )
    return (
        f'<figure class="chart{" wide" if wide else ""}"><div class="scroll"{" tabindex=0" if wide else ""}>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}"{style}>'
        f"{''.join(drawn)}</svg></div><figcaption>{keys}</figcaption></figure>"
    )


def _mark(a: float, b: float, series: Series, text: str) -> str:
    title = f"<title>{escape(text)}</title>"
    if series.style == "crosses":
        cross = f"M{a - 4:.1f} {b - 4:.1f}l8 8m0 -8l-8 8"
        return f'<path class="line c{series.colour}" d="{cross}">{title}</path>'
    return f'<circle class="dot c{series.colour}" cx="{a:.1f}" cy="{b:.1f}" r="3">{title}</circle>'


def _rule(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _wide(low: float, high: float, margin: float) -> tuple[float, float]:
    extent = (high - low) or abs(high) or 1.0
    return low - margin * extent, high + margin * extent


def _ticks(low: float, high: float, log: bool = False) -> list[float]:
    """Round numbers within the limits, three to eight of them."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        return [value for value in found if low <= value <= high]
    least = (high - low) / 7.5
    size = 10.0 ** math.floor(math.log10(least))
    step = next(size * digit for digit in (1, 2, 5, 10) if size * digit >= least)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [count * step for count in range(first, last + 1)]


def _short(value: float) -> str:
    return f"{value:.6g}"
