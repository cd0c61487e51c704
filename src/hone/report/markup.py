"""Write HTML from plain values: all that is not markup already is escaped, so no class name or path breaks a page."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

#: Elements that HTML closes by itself.
VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


Content = str | int | float | None | Iterable["Content"]


def text_of(content: Content) -> str:
    """The HTML of a piece of content: markup as it is, text escaped, None nothing, a sequence joined.

    Example:
        >>> text_of(["a < b", None, Markup("<br>")])
        'a &lt; b<br>'
    """
    if content is None:
        return ""
    if isinstance(content, Markup):
        return str(content)
    if isinstance(content, (str, int, float)):
        return escape(str(content))
    return "".join(text_of(item) for item in content)


def element(name: str, /, *content: Content, **attributes: str | float | bool | None) -> Markup:
    """One HTML or SVG element.

    Args:
        name: of the element.
        content: what it holds; text is escaped.
        attributes: ``class_`` stands for class, an underscore for a hyphen; None and False are left out.

    Example:
        >>> element("p", "1 < 2", class_="note")
        '<p class="note">1 &lt; 2</p>'
    """
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}" + ("" if value is True else f'="{escape(str(value))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if name in VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{text_of(content)}</{name}>")


def joined(*content: Content) -> Markup:
    """Several pieces one after the other, as markup."""
    return Markup(text_of(content))


def table(head: Iterable[Content], rows: Iterable[Iterable[Content]], *, caption: str, class_: str = "") -> Markup:
    """A table whose first column names its rows.

    Args:
        head: the column headers.
        rows: the cells; the first of each row becomes its header.
        caption: says what the table is, for those who cannot see it.
        class_: CSS classes of the table.
    """
    body = []
    for row in rows:
        first, *rest = row
        body.append(element("tr", element("th", first, scope="row"), [element("td", cell) for cell in rest]))
    return element(
        "div",
        element(
            "table",
            element("caption", caption),
            element("thead", element("tr", [element("th", cell, scope="col") for cell in head])),
            element("tbody", body),
            class_=class_ or None,
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )


def folded(summary: Content, *content: Content, opened: bool = False) -> Markup:
    """Details that are hidden until asked for; they are always printed."""
    return element("details", element("summary", summary), *content, open=opened)
