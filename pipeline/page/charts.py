"""Charts as inline SVG in the colours of the page: they follow its light and its dark, and need nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, BARS_HEIGHT, BAR = 420, 260, 330, 13
# Stand-ins, which the page's own colours replace.
_PALETTE = [f"#0000a{number}" for number in range(6)]
_SOFT, _RULE = "#0000b0", "#0000b1"
_COLOURS = {**{ink: f"var(--c{n})" for n, ink in enumerate(_PALETTE)}, _SOFT: "var(--soft)", _RULE: "var(--rule)"}
_STYLE: Any = {
    "font.size": 12,
    "svg.fonttype": "none",
    "axes.edgecolor": _SOFT,
    "axes.labelcolor": _SOFT,
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _RULE,
    "xtick.color": _SOFT,
    "ytick.color": _SOFT,
    "xtick.major.pad": 6,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}
_SVG = "{http://www.w3.org/2000/svg}"


@dataclass(frozen=True)
class Series:
    """One line or set of points.

    Attributes:
        name: in the legend.
        xs: of the points.
        ys: of the points, as many; what is None is left out.
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
    import matplotlib

    if not any(value is not None for each in series for value in each.ys):
        raise ValueError("charts: nothing to draw; at least one point is needed")
    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(WIDTH, HEIGHT, log)
        for number, each in enumerate(series):
            points = [(a, b) for a, b in zip(each.xs, each.ys, strict=True) if b is not None]
            axes.plot(
                *zip(*points, strict=True),
                color=_PALETTE[each.colour],
                linestyle="none" if each.style == "crosses" else "-",
                marker={"line": "", "dots": "o", "crosses": "x"}[each.style],
                linewidth=2,
                markersize=5,
                markeredgewidth=1.5,
                gid=f"series{number}",
            )
        axes.set(xlabel=x, ylabel=y, xlim=x_limits, ylim=y_limits)
        if falling:
            axes.invert_xaxis()
        titles = {f"series{number}": each.labels for number, each in enumerate(series)}
        return _figure(figure, alt, titles, [(each.name, each.colour) for each in series])


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
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        figure, axes = _axes(66 + BAR * len(names), BARS_HEIGHT, log=False)
        colours = [_PALETTE[1 if name in marked else 5] for name in names]
        places = range(len(names))
        drawn = axes.bar(places, [min(height, top) for height in heights], color=colours)
        axes.plot(places, [min(value, top) for value in line], color=_PALETTE[0], linewidth=2)
        axes.set(ylabel=y, xlim=(-0.7, len(names) - 0.3), ylim=(min(0.0, *heights, *line), top))
        axes.set_xticks(places, names, rotation=90, fontsize=10)
        titles = {f"bar{place}": [f"{names[place]}: {heights[place]:.1f}"] for place in places}
        for bar, name in zip(drawn, titles, strict=True):
            bar.set_gid(name)
        return _figure(figure, alt, titles, list(zip(legend, (5, 1, 0), strict=True)), wide=True)


def _axes(width: int, height: int, log: bool) -> tuple[Figure, Any]:
    from matplotlib import ticker
    from matplotlib.figure import Figure

    # A point of matplotlib's is a pixel of the page.
    figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
    axes = figure.subplots()
    if log:
        axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        logarithmic = log and axis is axes.yaxis
        axis.set_major_locator(
            ticker.LogLocator(subs=(1, 2, 5)) if logarithmic else ticker.MaxNLocator(6, steps=(1, 2, 5, 10))
        )
        axis.set_major_formatter("{x:.6g}")
        axis.set_minor_locator(ticker.NullLocator())
    return figure, axes


def _figure(
    figure: Figure,
    alt: str,
    titles: Mapping[str, Sequence[str]],
    legend: Sequence[tuple[str, int]],
    *,
    wide: bool = False,
) -> str:
    """The figure's HTML; `titles` are those of the points or the bar of each named artist."""
    written = io.BytesIO()
    figure.savefig(written, format="svg", transparent=True)
    root = ElementTree.fromstring(written.getvalue())
    for group in root.iter(f"{_SVG}g"):
        marked = [*group.iter(f"{_SVG}use")] or [group]
        for element, title in zip(marked, titles.get(group.get("id", ""), ()), strict=False):
            ElementTree.SubElement(element, "title").text = title
    # What is used must have a name, and names must differ in the whole page: marks are drawn in place instead.
    shapes = {shape.get("id"): shape for shape in root.iter(f"{_SVG}path")}
    for mark in root.iter(f"{_SVG}use"):
        mark.set("d", shapes[mark.attrib.pop("{http://www.w3.org/1999/xlink}href")[1:]].get("d", ""))
        mark.set("transform", f"translate({mark.attrib.pop('x')} {mark.attrib.pop('y')})")
        mark.tag = "path"
    for element in [*root.iter()]:
        element.tag = element.tag.removeprefix(_SVG)
        for name in ("id", "clip-path"):
            element.attrib.pop(name, None)
        for child in [*element.findall(f"{_SVG}defs"), *element.findall(f"{_SVG}metadata")]:
            element.remove(child)
    body = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    # Text is in the font of the page.
    body = re.sub(r" font-family: [^;]*;", "", body)
    for ink, colour in _COLOURS.items():
        body = body.replace(ink, colour)
    # At its own size text is readable; what is wider than the screen scrolls.
    _, _, width, height = str(root.get("viewBox")).split()
    style = f' style="width:{width}px"' if wide else ""
    keys = " ".join(
        f'<span class="entry"><span class="key c{colour}"></span>{escape(name)}</span>' for name, colour in legend
    )
    return (
        f'<figure class="chart{" wide" if wide else ""}"><div class="scroll"{" tabindex=0" if wide else ""}>'
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(alt)}"{style}>'
        f"{body}</svg></div><figcaption>{keys}</figcaption></figure>"
    )
