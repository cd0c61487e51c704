"""The frame of every page: head, style, title, sections, foot; one file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from .markup import Content, Markup, element, joined
from .style import SHEET

# A whetstone and the edge that is drawn over it.
_SIGN = Markup(
    '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="M2 17h20v4H2z" fill="var(--c8)" opacity=".45"/>'
    '<path d="M4 15 20 3l1.4 2.2L8.5 15z" fill="var(--c1)"/></svg>'
)


def page(title: str, lead: Content, *content: Content, kicker: str = "", heading: str = "") -> str:
    """A complete HTML document.

    Args:
        title: of the document.
        lead: one or two sentences that say the outcome.
        content: the sections.
        kicker: a few words above the heading.
        heading: the heading; the title if empty.
    """
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="generator", content="hone"),
        element("title", title),
        element("style", Markup(SHEET)),
    )
    top = element(
        "header",
        element("p", _SIGN, element("b", "hone"), element("span", kicker), class_="brand"),
        element("h1", heading or title),
        element("p", lead, class_="lead"),
    )
    foot = element("footer", f"Written by hone on {datetime.now():%Y-%m-%d at %H:%M}. This page needs no network.")
    body = element("body", top, element("main", *content), foot)
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def section(heading: str, intro: Content, *content: Content, name: str = "") -> Markup | None:
    """A section with its heading and one sentence of introduction; nothing where it would be empty."""
    inside = joined(*content)
    if not inside:
        return None
    return element("section", element("h2", heading), element("p", intro) if intro else None, inside, id=name or None)


def facts(pairs: Mapping[str, Content], *, small: bool = False) -> Markup | None:
    """Short facts as a list of terms and values; those without a value are left out."""
    rows = [
        element("div", element("dt", name), element("dd", value))
        for name, value in pairs.items()
        if value or value == 0
    ]
    return element("dl", rows, class_="facts small" if small else "facts") if rows else None


def share_bar(value: float, *, class_: str = "bar") -> Markup:
    """A bar filled to ``value`` in [0, 1]; what it shows is written beside it."""
    inner = element("i", style=f"--w:{min(max(value, 0.0), 1.0):.4f}") if value == value else None
    return element("span", inner, class_=class_, aria_hidden="true")


def save(path: Path, text: str) -> Path:
    """Write a page through a file beside it, so that a reader never sees half of it."""
    beside = path.with_name(path.name + ".part")
    beside.write_text(text, encoding="utf-8")
    return beside.replace(path)
