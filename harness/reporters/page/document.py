# SPDX-License-Identifier: GPL-2.0-only
"""A page as one file: sections, style and script in one document that loads nothing.

A section is a template and plain data, so that whoever has something to say about a series adds one; see
harness/README.md, "The page". Every string that a template writes goes through :func:`visible` and is escaped.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from harness.reporters.page.visible import flat, visible


@dataclass(frozen=True)
class Section:
    """One part of a page, folded unless ``open``.

    ``id`` is its anchor, ``template`` a file in templates/, which finds ``data`` as ``d``. ``note`` stands behind the
    title: how many, or the gist. ``tone`` colours it: good, bad, doubt, or nothing.
    """

    id: str
    title: str
    template: str
    data: Mapping[str, object] = field(default_factory=dict)
    note: str = ""
    tone: str = ""
    open: bool = False


def document(title: str, top: Section, sections: Sequence[Section]) -> str:
    """The whole page. ``top`` is what stands in the first screen, never folded."""
    style, script = _file("page.css"), _file("page.js")
    return (
        _environment()
        .get_template("page.html")
        .render(
            title=title,
            top=top,
            sections=sections,
            style=Markup(style),
            script=Markup(script),
            policy=(
                f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
                "base-uri 'none'; form-action 'none'"
            ),
        )
    )


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("harness.reporters.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    found.filters |= {"flat": flat, "breakable": _breakable}
    return found


def _shown(value: object) -> object:
    """What every expression of a template passes through. Markup is ours: pictures, and what macros made."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _breakable(name: str) -> Markup:
    """A name of many words, which may be broken between them."""
    return Markup("_<wbr>").join(visible(flat(name)).split("_"))


def _file(name: str) -> str:
    loader = _environment().loader
    assert isinstance(loader, PackageLoader)
    return loader.get_source(_environment(), name)[0].strip()


def _hash(text: str) -> str:
    """A source expression of a Content-Security-Policy: this text alone, and no other, is let through."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
