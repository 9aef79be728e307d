"""Which class of a detector is which class of a data set, and what classes of one name are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


def matched(labels: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """Class of the model -> class of the data set, by name, whatever their case and spacing (also ``_`` and ``-``).

    Several classes of a model may be one of the data set. A name that is spelt alike in two classes of the data set
    is matched as it is written only; of several that are written alike the first is the first, and so on.
    """
    exact: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        exact.setdefault(name, []).append(number)
    plain: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        plain.setdefault(_plain(name), []).append(number)
    found, met = {}, Counter[str]()
    for number, label in enumerate(labels):
        alike = plain.get(_plain(label), [])
        if label in exact:
            found[number] = exact[label][min(met[label], len(exact[label]) - 1)]
            met[label] += 1
        elif len(alike) == 1:
            found[number] = alike[0]
    return found


def _plain(name: str) -> str:
    return "".join(name.replace("_", " ").replace("-", " ").casefold().split())


def distinct(names: Sequence[str], ids: Sequence[int] | None = None) -> tuple[str, ...]:
    """A name for each class that no other has: of several written alike with its id behind it, or its number."""
    many, numbers = Counter(names), ids or range(len(names))
    return tuple(f"{name} ({n})" if many[name] > 1 else name for name, n in zip(names, numbers, strict=True))
