"""Which class of somebody else's detector is which class of a data set."""

from __future__ import annotations

from collections.abc import Sequence


def matched(labels: Sequence[str], names: Sequence[str]) -> dict[int, int]:
    """Class of the model -> class of the data set, by name, whatever their case and spacing (also ``_`` and ``-``).

    Several classes of a model may be one of the data set. A name that is spelt alike in two classes of the data set
    is matched as it is written only.
    """
    exact = {name: number for number, name in enumerate(names)}
    plain: dict[str, list[int]] = {}
    for number, name in enumerate(names):
        plain.setdefault(_plain(name), []).append(number)
    found = {}
    for number, label in enumerate(labels):
        alike = plain.get(_plain(label), [])
        if label in exact:
            found[number] = exact[label]
        elif len(alike) == 1:
            found[number] = alike[0]
    return found


def _plain(name: str) -> str:
    return "".join(name.replace("_", " ").replace("-", " ").casefold().split())
