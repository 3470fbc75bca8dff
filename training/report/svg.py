"""Convert matplotlib figures to inline SVG that uses the page's colours, fonts and dark mode."""

from __future__ import annotations

import io
import re
import warnings
from html import escape
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable

INK, MUTED, GRID, PAPER = "#16181d", "#5c6370", "#dfe2e7", "#fefefe"
BLUE, ORANGE, GREEN, GREY = "#0072b2", "#d55e00", "#009e73", "#8d939e"
"""Wong's colour-blind safe colours (2011, Nature Methods 8:441). The page defines separate ones for dark mode."""

BEHIND = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 1}
"""Outline that separates text from the lines it crosses."""

VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    BLUE: "--blue",
    ORANGE: "--orange",
    GREEN: "--green",
    GREY: "--grey",
}

_STYLE = {
    "svg.fonttype": "none",  # text is kept as text: small, accessible to screen readers, in the page's font
    "text.parse_math": False,  # a column may be named "$x$"
    "font.size": 10,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}

_COLOUR = re.compile(r"(fill|stroke): (#[0-9a-f]{6})")
_TAG = re.compile(r"<[^>]*>")
_DECIMALS = re.compile(r"(\d\.\d\d)\d+")
_GROUP_ID = re.compile(r'<g id="[^"]*"')


def render(
    name: str, title: str, description: str, draw: Callable[[Figure], None], size: tuple[float, float] = (5.2, 3.7)
) -> Markup:
    """Draw a figure and return it as an inline SVG element.

    Parameters
    ----------
    name : str
        Unique in the page; prefix of the ids in the figure.
    title, description : str
        Texts for screen readers.
    draw : callable
        Function that draws on an empty figure.
    size : (float, float)
        Width and height in inches; narrow, so that 10-point text is readable on a phone.
    """
    settings: Any = _STYLE | {"svg.hashsalt": name}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # the reader's browser has the font
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        written = io.StringIO()
        # `Figure.savefig` draws twice.
        FigureCanvasSVG(figure).print_svg(written, metadata={"Date": None})  # type: ignore[no-untyped-call]
    return _embed(written.getvalue(), name, title, description)


def _embed(svg: str, name: str, title: str, description: str) -> Markup:
    box = re.search(r'viewBox="([^"]+)"', svg)
    inside = svg[svg.index(">", svg.index("<svg")) + 1 :]
    inside = re.sub(r"<metadata>.*?</metadata>", "", inside, flags=re.DOTALL)
    inside = _GROUP_ID.sub("<g", inside)
    inside = _COLOUR.sub(
        lambda match: f"{match[1]}: var({VARIABLES[match[2]]})" if match[2] in VARIABLES else match[0], inside
    )
    inside = _TAG.sub(lambda match: _DECIMALS.sub(r"\1", match[0]), inside)
    head = (
        f'<svg viewBox="{box[1] if box else "0 0 100 100"}" role="img" aria-labelledby="{name}-title {name}-text">'
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(description)}</desc>'
    )
    # All names have been escaped by matplotlib or above.
    return Markup(head + inside.strip())  # noqa: S704
