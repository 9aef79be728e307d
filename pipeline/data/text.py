"""Text as people's programs write it: in UTF-8 mostly, and in what Windows and older tools make of it."""

from __future__ import annotations

import codecs
import errno
import os
import re
from pathlib import Path

# More than the labels of any set take, and read at once.
MAX_BYTES = 4 << 30

# Longest first, as the mark of UTF-16 begins that of UTF-32.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_COMMON = "\u4e00-\u9fff\u3000-\u303f\uff00-\uffef"
_RARE = re.compile(rf"[^\x00-\x7f{_COMMON}]")
_WITHIN = re.compile(rf"[A-Za-z][{_COMMON}](?=[A-Za-z\s]|$)|(?<![{_COMMON}])[{_COMMON}][A-Za-z]")


def encoding_of(head: bytes) -> str | None:
    """The encoding by the mark at the beginning, or by the zeros that UTF-16 has in plain text; None if it has none."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    pairs = head[: len(head) // 2 * 2][:64]
    if len(pairs) >= 8:
        if not any(pairs[::2]) and all(pairs[1::2]):
            return "utf-16-be"
        if not any(pairs[1::2]) and all(pairs[::2]):
            return "utf-16-le"
    return None


def decoded(data: bytes) -> str:
    """The text in `data`: by its mark, else UTF-8, else what Chinese or Western Windows would have written."""
    encoding = encoding_of(data[:64])
    if encoding is not None:
        return data.decode(encoding, "replace")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
    # Nearly any two bytes are some sign of GB18030; real text has common ones, and no single one within a Latin word.
    is_western = _RARE.search(text) or _WITHIN.search(text)
    return data.decode("cp1252", "replace") if is_western else text


def read_whole(path: str | Path) -> bytes:
    """All of a file of labels. OSError if it cannot be read, or is larger than `MAX_BYTES`."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MAX_BYTES:
            raise OSError(errno.EFBIG, f"a file of labels has at most {MAX_BYTES} bytes, got {size}", str(path))
        return file.read()


def read_text(path: str | Path) -> str:
    """The text of a file. Raises as `read_whole`."""
    return decoded(read_whole(path))


def read_head(path: str, size: int) -> str:
    """The first `size` bytes of a file as text; empty if it cannot be read."""
    try:
        with open(path, "rb") as file:
            data = file.read(size)
    except OSError:
        return ""
    # A sign that is cut in two at the end would make all of it look like another encoding.
    for cut in range(4):
        try:
            return data[: len(data) - cut].decode("utf-8") if encoding_of(data[:64]) is None else decoded(data)
        except UnicodeDecodeError:
            continue
    return decoded(data)


def lines_of(text: str) -> list[str]:
    """Its lines without the spaces around them, but for those with nothing on them."""
    return [line for line in map(str.strip, text.splitlines()) if line]
