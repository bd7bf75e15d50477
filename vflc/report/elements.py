"""Pieces of HTML that are put together so that no text can become markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any


class Html(str):
    """Text that is HTML; all other text is escaped when it becomes a part of some."""

    __slots__ = ()


def html(content: object) -> Html:
    """A text as HTML that shows it, also what would turn the direction of writing or is not to be seen."""
    if isinstance(content, Html):
        return content
    seen = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in str(content))
    return Html(escape(seen))


def joined(parts: Iterable[object], between: str = "") -> Html:
    """Parts one after another."""
    return Html(html(between).join(map(html, parts)))


def tag(name: str, *content: object, **attributes: Any) -> Html:
    """An element; `class_` is the attribute `class`, `view_box` is `viewBox`, other `_` are hyphens.

    An attribute that is None is left out.
    """
    written = "".join(
        f' {_ATTRIBUTES.get(key, key.replace("_", "-"))}="{html(_number(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{written}>{joined(content)}</{name}>")


_ATTRIBUTES = {"class_": "class", "view_box": "viewBox", "for_": "for"}


def _number(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else value


def section(id: str, title: str, *content: object) -> Html:
    """A part of the page with a heading; nothing where it has no content."""
    shown = [each for each in content if each]
    if not shown:
        return Html("")
    return tag("section", tag("h2", title), *shown, id=id, aria_label=title)


def folded(summary: object, *content: object, open: bool = False) -> Html:
    """Content that a reader opens."""
    return tag("details", tag("summary", summary), *content, open="" if open else None)


def table(heads: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> Html:
    """A table whose first column names its rows. A head that ends in `|n` is of numbers, in `|w` of texts."""
    kinds = [head[-1] if head.endswith(("|n", "|w")) else None for head in heads]
    top = [
        tag("th", head if kind is None else head[:-2], class_=kind, scope="col")
        for head, kind in zip(heads, kinds, strict=True)
    ]
    body = [
        tag("tr", *(_cell(i, cell, kind) for i, (cell, kind) in enumerate(zip(row, kinds, strict=True))))
        for row in rows
    ]
    if not body:
        return Html("")
    caption_ = [tag("caption", caption)] if caption else []
    whole = tag("table", *caption_, tag("thead", tag("tr", *top)), tag("tbody", *body))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption or heads[0])


def _cell(position: int, content: object, kind: str | None) -> Html:
    if position:
        return tag("td", content, class_=kind)
    return tag("th", content, scope="row", class_=kind)


def listed(items: Iterable[object]) -> Html:
    """A list with bullets; nothing where there are no items."""
    found = [tag("li", item) for item in items]
    return tag("ul", *found) if found else Html("")


def code(text: object) -> Html:
    """A name as a spec or a file has it."""
    return tag("code", text)


def note(*content: object) -> Html:
    """A sentence beside the matter."""
    return tag("p", *content, class_="soft")


def bar(share: float, kind: str = "") -> Html:
    """A share, from 0 to 1, as a bar in a cell."""
    width = f"width:{100 * max(0.0, min(1.0, share)):.1f}%"
    return tag("span", tag("i", style=width), class_=f"bar {kind}".strip(), aria_hidden="true")
