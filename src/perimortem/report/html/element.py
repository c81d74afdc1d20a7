"""HTML elements that escape their content: names and arguments of a process are hostile input. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable

_VOID = frozenset({"meta", "input", "br"})


class Markup(str):
    """Text that is already HTML."""

    __slots__ = ()


Content = str | None | Iterable["str | None"]


def element(name: str, /, *content: Content, **attributes: str | bool | None) -> Markup:
    """``<name ...>content</name>``. Plain text is escaped, :class:`Markup` is not.

    Attributes: ``class_`` is class, ``_`` becomes ``-``; True stands alone, None and False are omitted.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        label = key.rstrip("_").replace("_", "-")
        words.append(label if value is True else f'{label}="{html.escape(value)}"')
    head = f"<{' '.join(words)}>"
    if name in _VOID:
        return Markup(head)
    return Markup(f"{head}{join(*content)}</{name}>")


def join(*content: Content) -> Markup:
    """Concatenates."""
    parts: list[str] = []
    for part in content:
        if part is None:
            continue
        if isinstance(part, str):
            parts.append(part if isinstance(part, Markup) else html.escape(part, quote=False))
        else:
            parts.append(join(*part))
    return Markup("".join(parts))
