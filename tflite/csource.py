"""Python values as C source: names, strings, numbers and arrays that any C99 compiler reads as they are meant."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

# What C99 (5.2.4.1) lets every compiler take: characters of a string, and letters of a name that count.
LONGEST_STRING = 4095
_LONGEST_NAME = 20
_WIDTH = 116


def identifier(name: str) -> str:
    """A beginning for C names from any text: letters, digits and underscores, first a letter, not long.

    With an ending, such as ``int_model``, it is never a keyword, and no name that C keeps for itself.
    """
    kept = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
    return (kept if kept[:1].isalpha() else f"net_{kept}" if kept else "net")[:_LONGEST_NAME].rstrip("_")


def string(text: str) -> str:
    """A C string of the text in UTF-8: quotes, backslashes, trigraphs and what is not ASCII are escaped.

    Raises:
        ValueError: it holds a zero, which ends a C string, or is longer than C99 promises to take.
    """
    data = text.encode("utf-8", "replace")
    if 0 in data:
        raise ValueError(f"{text[:60]!r}: holds a zero, which ends a C string")
    if len(data) > LONGEST_STRING:
        raise ValueError(
            f"{text[:60]!r}...: {len(data)} bytes in UTF-8; allowed: {LONGEST_STRING}, as every C99 compiler takes them"
        )
    # Octal escapes end after three digits, hexadecimal ones never.
    return '"' + "".join(chr(byte) if _plain(byte) else f"\\{byte:03o}" for byte in data) + '"'


def comment(text: str) -> str:
    """The text in one line of a comment, that does not end it, continue it, or begin another."""
    return "".join(chr(byte) if _plain(byte) and chr(byte) not in "*/" else " " for byte in text.encode())


def number(value: float) -> str:
    """A float constant: the digits that give this very float32 back."""
    digits = str(np.float32(value))
    return f"{digits}f" if "." in digits or "e" in digits else f"{digits}.0f"


def wrapped(items: Iterable[str]) -> str:
    """Items of an array, by commas, in lines."""
    lines, line = [], ""
    for item in items:
        if line and len(line) + len(item) + 2 > _WIDTH:
            lines.append(f"  {line}")
            line = ""
        line = f"{line} {item}," if line else f"{item},"
    return "\n".join([*lines, f"  {line}"])


def octets(data: bytes) -> str:
    """Bytes as items of an array, in lines of 24."""
    digits = [str(byte) for byte in data]
    return "\n".join(f"  {','.join(digits[start : start + 24])}," for start in range(0, len(digits), 24))


def _plain(byte: int) -> bool:
    return 32 <= byte < 127 and chr(byte) not in '"\\?'
