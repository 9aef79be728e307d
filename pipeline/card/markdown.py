"""Markdown in which the words of others are words, and blocks that a later command finds again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from micro_yolo.model.printable import harmless

# Every reader of Markdown takes a backslash before these for "as it is" ...
_MARKS = re.compile(r"[\\`*_{}\[\]]")
# ... and not before these, which begin tags, entities, columns, links, mentions, formulas and more in some of them.
_SIGNS = re.compile(r"[<>&|:@$~^=]|(?<=www)\.", re.IGNORECASE)


def words(text: object) -> str:
    """Text of others as one line that reads as it is, within a line or a cell. None of it is taken for a mark."""
    line = harmless(" ".join(str(text).split()))
    return _SIGNS.sub(lambda found: f"&#{ord(found[0])};", _MARKS.sub(r"\\\g<0>", line))


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """A table of cells that are Markdown already; the first `left` columns at the left, the others at the right."""
    rule = ["---" if column < left else "---:" for column in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, rule, *rows))


def bullets(lines: Iterable[str]) -> str:
    """A list, an entry a line."""
    return "\n".join(f"- {line}" for line in lines)


def block(name: str, body: str) -> str:
    """Markdown between marks that no page shows. No text of `words` can hold such a mark."""
    return f"<!-- {name} -->\n\n{body}\n\n<!-- /{name} -->"


def inside(text: str, name: str) -> str | None:
    """What is in the block of this name; None if there is no such block."""
    found = _pattern(name).search(text)
    return None if found is None else found[1]


def put(text: str, name: str, body: str) -> str:
    """The text with `body` in its block of this name, which must be there."""
    return _pattern(name).sub(lambda _: block(name, body), text, count=1)


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(f"<!-- {name} -->\n\n(.*?)\n\n<!-- /{name} -->", re.DOTALL)
