"""Text as it may be printed or pasted: what others wrote acts on no terminal and no shell. No TensorFlow."""

from __future__ import annotations

import re
import shlex

# What moves a terminal's cursor, changes its colours or the direction of what follows, and what cannot be written.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def harmless(text: str) -> str:
    """The text as it may be printed: a sign that would act on the terminal is shown by its number."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def shortened(text: str, most: int = 300) -> str:
    """The text, of a long one its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 :]}"


def typed(*words: object) -> str:
    """Words of a command as they may be pasted into a shell: whatever is in them, it runs nothing."""
    return shlex.join(map(str, words))
