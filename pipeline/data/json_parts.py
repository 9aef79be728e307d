"""A large JSON file read record by record, so that neither its text nor all its records are in memory at once."""

from __future__ import annotations

import codecs
import re
from collections.abc import Collection, Iterator
from io import BufferedReader
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any

from micro_yolo.pipeline.data.text import encoding_of

PIECE_BYTES = 1 << 22
# More than what is said of one picture or box.
MAX_RECORD = 1 << 29
# More than what may still belong to a number at the end of the text read so far.
_MARGIN = 16
_SPACE = re.compile(r"[ \t\n\r]*")


def members(path: Path, lists: Collection[str | None]) -> Iterator[tuple[str | None, Any, bool]]:
    """The members of the JSON object in a file, in their order: name, value, and whether it is an element.

    A member of `lists` that is a list comes as an empty one, and then each of its elements under the same name. What
    the file holds instead of an object has the name None.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON; the message says why and where. What came before may have been used already.
        RecursionError: it is nested too deeply.
    """
    with open(path, "rb") as file:
        text = _Text(file)
        if text.ahead() != "{":
            yield from text.member(None, lists)
            return text.end()
        text.at += 1
        if text.ahead() == "}":
            text.at += 1
            return text.end()
        while True:
            if text.ahead() != '"':
                raise text.wrong("Expecting property name enclosed in double quotes")
            name = text.value()
            if text.ahead() != ":":
                raise text.wrong("Expecting ':' delimiter")
            text.at += 1
            yield from text.member(name, lists)
            if not text.another("}"):
                return text.end()


class _Text:
    """A window on the text of a file; `at` is the place in it that has been reached."""

    def __init__(self, file: BufferedReader) -> None:
        self.at = 0
        self._window = ""
        encoding = encoding_of(file.peek(64)[:64]) or "utf-8"
        self._file, self._decoder = file, codecs.getincrementaldecoder(encoding)()
        self._scan = JSONDecoder().raw_decode
        # Before the window: bytes and characters, lines, and characters before the line that goes on in it.
        self._bytes = self._before = self._lines = self._line = 0

    def ahead(self) -> str:
        """The next character that is no space, where `at` is then; "" at the end."""
        while True:
            found = _SPACE.match(self._window, self.at)
            self.at = found.end() if found else self.at
            if self.at < len(self._window) or not self._more():
                return self._window[self.at : self.at + 1]

    def value(self) -> Any:
        """The value that comes next."""
        if not self._window.startswith("{", self.at):
            self.ahead()
        while True:
            try:
                value, end = self._scan(self._window, self.at)
            except JSONDecodeError as error:
                wrong = self.wrong(error.msg, error.pos)
                if not self._more():
                    raise wrong from None
                continue
            if end + _MARGIN <= len(self._window) or not self._more():
                self.at = end
                return value

    def member(self, name: str | None, lists: Collection[str | None]) -> Iterator[tuple[str | None, Any, bool]]:
        """The value that comes next, as `members` gives it."""
        if self.ahead() != "[" or name not in lists:
            yield name, self.value(), False
            return
        self.at += 1
        yield name, [], False
        if self.ahead() == "]":
            self.at += 1
            return
        while True:
            yield name, self.value(), True
            # Nearly all are followed like this; to look at every character takes as long as reading what they are.
            if self._window.startswith((", {", ",{"), self.at):
                self.at = self._window.index("{", self.at)
            elif not self.another("]"):
                return

    def another(self, last: str) -> bool:
        """Whether a comma comes next, and not `last`."""
        mark = self.ahead()
        if mark not in (",", last):
            raise self.wrong("Expecting ',' delimiter")
        self.at += 1
        return mark == ","

    def end(self) -> None:
        """Nothing may follow."""
        if self.ahead():
            raise self.wrong("Extra data")

    def wrong(self, what: str, at: int | None = None) -> ValueError:
        """The error of the place `at` in the window, as Python's own reader words it."""
        at = self.at if at is None else at
        newline = self._window.rfind("\n", 0, at)
        line = self._lines + self._window.count("\n", 0, at) + 1
        column = at - newline if newline >= 0 else self._before + at - self._line + 1
        return ValueError(f"{what}: line {line} column {column} (char {self._before + at})")

    def _more(self) -> bool:
        """Move the window to `at` and lengthen it; whether there was anything left."""
        if len(self._window) - self.at > MAX_RECORD:
            raise self.wrong(f"A record has at most {MAX_RECORD} characters, got more")
        # A record longer than a piece is begun anew with each: twice as long, so that it is not begun often.
        data = self._file.read(max(PIECE_BYTES, len(self._window) - self.at))
        held = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            place = self._bytes - held + error.start
            byte = f"byte 0x{error.object[error.start]:02x} in position {place}"
            raise ValueError(f"{error.encoding!r} codec can't decode {byte}: {error.reason}") from None
        if not data:
            return False
        self._bytes += len(data)
        newline = self._window.rfind("\n", 0, self.at)
        if newline >= 0:
            self._lines += self._window.count("\n", 0, self.at)
            self._line = self._before + newline + 1
        self._before += self.at
        self._window, self.at = self._window[self.at :] + text, 0
        return True
