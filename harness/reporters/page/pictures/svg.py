# SPDX-License-Identifier: GPL-2.0-only
"""SVG elements as escaped markup. Colours come from the page's style, by class, so they follow light and dark."""

from __future__ import annotations

from markupsafe import Markup

from harness.reporters.page.visible import flat, visible


def element(name: str, *inside: Markup, **attributes: object) -> Markup:
    """``<name attribute="...">inside</name>``; an underscore in an attribute's name is a hyphen, and ``class_`` is
    class. Attributes that are None are left out."""
    given = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    said = Markup("").join(Markup(' {}="{}"').format(key, _number(value)) for key, value in given.items())
    return Markup("<{0}{1}>{2}</{0}>").format(Markup(name), said, Markup("").join(inside))


def title(text: str) -> Markup:
    """What a pointer that rests on the element is told."""
    return Markup("<title>{}</title>").format(visible(flat(text)))


def picture(label: str, width: float, height: float, *inside: Markup, stretch: bool = False) -> Markup:
    """A whole SVG; ``label`` is its text alternative. ``stretch``: as wide as there is room, the height stays."""
    return element(
        "svg",
        *inside,
        class_="stretch" if stretch else "fixed",
        viewBox=f"0 0 {_number(width)} {_number(height)}",
        width=None if stretch else width,
        height=height,
        preserveAspectRatio="none" if stretch else None,
        role="img",
        aria_label=visible(flat(label)),
    )


def bar(label: str, share: float, tone: str = "") -> Markup:
    """A bar that fills ``share`` (0 to 1) of the room."""
    filled = element("rect", class_=f"fill {tone}".strip(), x=0, y=0, width=100 * min(max(share, 0.0), 1.0), height=8)
    return picture(label, 100, 8, element("rect", class_="rail", x=0, y=0, width=100, height=8), filled, stretch=True)


def _number(value: object) -> object:
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else value
