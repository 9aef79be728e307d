"""Readers of the forms that need no more than a function each; see `json_forms`, `xml_forms` and `text_forms`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from micro_yolo.pipeline.data.dataset import Dataset, Reader
from micro_yolo.pipeline.data.forms import json_forms, text_forms, xml_forms
from micro_yolo.pipeline.data.forms.sniff import SAYS
from micro_yolo.pipeline.data.labels import Collected
from micro_yolo.pipeline.data.tree import Tree

ReadFile = Callable[[Tree, str, Collected], None]


def _find(form: str, tree: Tree) -> list[str] | None:
    return tree.forms.get(form)


def _read(form: str, read_file: ReadFile, tree: Tree, found: list[str], *, val_fraction: float, seed: int) -> Dataset:
    collected = Collected(tree)
    tree.use(*tree.forms.get(f"{form} meta", ()))
    for file in found:
        tree.use(file)
        try:
            read_file(tree, file, collected)
        except OSError as error:
            collected.problems.add(file, f"cannot be read ({error.strerror or error})")
    return collected.dataset(form, val_fraction=val_fraction, seed=seed)


def _reader(form: str, read_file: ReadFile) -> Reader:
    return Reader(SAYS[form][0], partial(_find, form), partial(_read, form, read_file))


READERS = [
    *(_reader(form, partial(json_forms.read_file, pictures=pictures)) for form, pictures in json_forms.FORMS.items()),
    *(_reader(form, partial(xml_forms.read_file, form=form)) for form in xml_forms.READ),
    *(_reader(form, partial(text_forms.read_file, form=form)) for form in (*text_forms.LISTS, *text_forms.LINES)),
]
