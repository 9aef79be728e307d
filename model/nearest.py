"""The known names nearest to a mistyped one, as the end or the beginning of an error's hint. No TensorFlow."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(
    name: object, known: Iterable[str], *, form: str = "; nearest: {}", most: int = 1, cutoff: float = 0.6
) -> str:
    """`form` filled with up to `most` known names at least `cutoff` (0..1) like `name`; empty if none is."""
    near = difflib.get_close_matches(str(name), list(known), n=most, cutoff=cutoff)
    return form.format(", ".join(near)) if near else ""
