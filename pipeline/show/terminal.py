"""The one way to people's terminals: what others wrote, such as names of classes and files, cannot act on them."""

from __future__ import annotations

import io
import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from micro_yolo.model.printable import harmless


class Terminal(Console):
    """A console that shows the signs by their number that would move a cursor, or turn the direction of a line."""

    def render_str(self, text: str, **told: Any) -> Text:
        """The text, its lines as they are."""
        return super().render_str("\n".join(map(harmless, text.split("\n"))), **told)


def say_anything() -> None:
    """Have stdout and stderr write what their encoding has not by its number, instead of failing at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
