"""matplotlib figure -> inline SVG without `style` attributes, so that a strict CSP and both themes hold.

A figure is drawn in the stand-in colours of `COLOURS`; here each becomes a class (`f-accent` fills,
`s-accent` strokes) that the page's stylesheet colours for light, dark and print.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "draw", "new_axes"]

COLOURS = {
    name: f"#{number:06x}"
    for number, name in enumerate(
        ("ink", "muted", "grid", "accent", "base", "good", "bad", "warn", "panel", "soft"), start=1
    )
}
_ROLES = {colour: name for name, colour in COLOURS.items()}
_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_FONT_SIZE = re.compile(r"([\d.]+)px")
_DROPPED = {"metadata", "style", "title"}
_IDLE = {("opacity", "1"), ("stroke-opacity", "1"), ("fill-opacity", "1"), ("stroke-dasharray", "none")}


def new_axes(width_px: float = 360, height_px: float = 250) -> tuple[Figure, Axes]:
    """A figure of this size in CSS pixels with one set of axes in the report's style."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_px / 72, height_px / 72), layout="constrained")
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(COLOURS["grid"])
    axes.tick_params(colors=COLOURS["muted"], length=0, labelsize=10.5, pad=5)
    axes.grid(color=COLOURS["grid"], linewidth=0.7)
    axes.set_axisbelow(True)
    return figure, axes


def draw(figure: Figure, key: str, titles: Mapping[str, str] | None = None) -> Markup:
    """The figure as an `<svg>` element. `key` makes its ids unique in the page; `titles` gives the
    artists with these gids a tooltip."""
    from matplotlib import rc_context

    buffer = BytesIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": key}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue())  # our own output, one line above
    _clean(root, key, titles or {})
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("class", "plot")
    root.set("aria-hidden", "true")  # the caption and the description beside it are read instead
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _clean(element: Any, key: str, titles: Mapping[str, str]) -> None:
    element.tag = element.tag.rpartition("}")[2]
    for name, value in list(element.attrib.items()):
        del element.attrib[name]
        bare = name.rpartition("}")[2]
        if bare == "style":
            _spread(element, value)
        else:
            element.set(bare, _tidy(bare, value, key))
    for child in list(element):
        _clean(child, key, titles)
        empty = child.tag in ("g", "defs") and not len(child)
        if child.tag in _DROPPED or empty:
            element.remove(child)
    gid = element.get("id", "").removeprefix(f"{key}-")
    if gid in titles:
        title = ElementTree.Element("title")
        title.text = titles[gid]
        element.insert(0, title)
    elif element.tag == "g":
        element.attrib.pop("id", None)


def _spread(element: Any, style: str) -> None:
    """Turn declarations into presentation attributes, stand-in colours into classes."""
    classes = []
    for declaration in style.split(";"):
        name, _, value = (part.strip() for part in declaration.partition(":"))
        if name in ("fill", "stroke") and value in _ROLES:
            classes.append(f"{name[0]}-{_ROLES[value]}")
        elif name in ("font", "font-size") and (size := _FONT_SIZE.search(value)):
            element.set("font-size", size[1])
        elif name and not name.startswith("font") and (name, value) not in _IDLE:
            element.set(name, _NUMBER.sub(_rounded, value))
    if classes:
        element.set("class", " ".join(classes))


def _tidy(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == "href":
        return f"#{key}-{value.removeprefix('#')}"
    if name == "clip-path":
        return value.replace("#", f"#{key}-")
    return " ".join(_NUMBER.sub(_rounded, value).split())


def _rounded(match: re.Match[str]) -> str:
    return f"{float(match[0]):.1f}".removesuffix(".0")
