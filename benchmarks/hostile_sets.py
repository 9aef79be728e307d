"""Hostile data sets, drawn by number: each must end in a report of what is in it or in one clear error.

    python benchmarks/hostile_sets.py --minutes 1
    python benchmarks/hostile_sets.py --first 123 --tries 1

Set N is the same on every run: one of the forms that people label in, with up to four things done to its files.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tried import Ended, Numbered, Tally, silent, tally_of, tried

from micro_yolo.pipeline.show import cli

WHAT = "data sets"


@dataclass(frozen=True)
class Config(Numbered):
    """Hostile data sets through the command that reads them."""


def run(config: Config, tally: Tally | None = None) -> Tally:
    """Try, count and print. Raises ValueError if one is lost."""
    with tempfile.TemporaryDirectory() as place:
        base = drawn(Path(place).resolve() / "base")
        # Once here, so that what is loaded for it is loaded for all.
        with silent():
            _read(base / "coco")
        return tally_of(WHAT, config, lambda number: attack(base, Path(place).resolve() / "set", number), tally)


def drawn(base: Path) -> Path:
    """One small set in each form, in folders of their own."""
    from micro_yolo.pipeline.data import load, synthetic
    from micro_yolo.pipeline.data.export import export

    dataset = load(synthetic.make(base / "coco", train=4, val=2, size=(64, 96), seed=3))
    export(dataset, base / "yolo", "yolo")
    export(dataset, base / "voc", "voc")
    pictures = sorted((base / "coco" / "images").iterdir())
    for form in ("csv", "labelme", "via"):
        (base / form).mkdir()
        for picture in pictures:
            shutil.copy(picture, base / form)
    names = [picture.name for picture in pictures]
    lines = [f"{name},96,64,{word},4,6,24,20" for name in names for word in ("cat", "dog")]
    (base / "csv" / "labels.csv").write_text("\n".join(["filename,width,height,class,xmin,ymin,xmax,ymax", *lines]))
    for name in names:
        shape = {"label": "cat", "shape_type": "rectangle", "points": [[4, 6], [24, 20]]}
        said = {"imagePath": name, "imageHeight": 64, "imageWidth": 96, "shapes": [shape]}
        (base / "labelme" / name).with_suffix(".json").write_text(json.dumps(said))
    region = {
        "shape_attributes": {"name": "rect", "x": 4, "y": 6, "width": 20, "height": 14},
        "region_attributes": {"kind": "cat"},
    }
    via = {name: {"filename": name, "size": 1, "regions": [region], "file_attributes": {}} for name in names}
    (base / "via" / "via.json").write_text(json.dumps(via))
    return base


def attack(base: Path, target: Path, number: int) -> tuple[str, Ended]:
    """Make set `number` and have it read: what was done to it, and how that ended."""
    source = random.Random(number)
    shutil.rmtree(target, ignore_errors=True)
    form = source.choice(_FORMS)
    shutil.copytree(base / form, target)
    done = [form]
    for _ in range(source.randint(1, 4)):
        files = sorted(
            path
            for path in target.rglob("*")
            if path.is_file() and not path.is_symlink() and path.stat().st_size < _LARGE
        )
        labels = [path for path in files if path.suffix in _TEXTS]
        to = source.choice(labels if labels and source.random() < 0.7 else files or [target])
        does = source.choice(DAMAGE if to in labels else FILE_DAMAGE)
        # What a file of this kind cannot have done to it is left out.
        if to.is_file() and does(to, source) is not False:
            done.append(f"{does.__name__.strip('_')} {to.relative_to(target)}".encode("ascii", "replace").decode())
    return ", ".join(done), tried(lambda: _read(target))


def _read(target: Path) -> None:
    """Read it as a user does, and look whether what was read is what a training may rely on."""
    from micro_yolo.pipeline.data import __main__ as stage
    from micro_yolo.pipeline.data import load

    try:
        dataset = load(target)
    except (ValueError, OSError, MemoryError):
        # Of which the command is to make one line.
        dataset = None
    for split in () if dataset is None else dataset.splits.values():
        boxes, sizes = split.boxes_xyxy, np.repeat(split.sizes, np.diff(split.starts), axis=0)
        held = [
            len(split.starts) == len(split) + 1 and split.starts[-1] == len(boxes) == len(split.classes),
            bool(np.isfinite(boxes).all()) and bool((boxes >= 0).all()),
            bool((boxes[:, [3, 2]] <= sizes).all()) and bool((boxes[:, 2:] > boxes[:, :2]).all()),
            bool(((split.classes >= 0) & (split.classes < len(dataset.names))).all()) if dataset else False,
        ]
        if not all(held):
            raise AssertionError(f"{split.name}: {held}, {boxes[:5]}, {split.sizes[:5]}")
    out = target.with_name("out")
    args = [str(target), "--out", str(out), "--overwrite"]
    cli.main(stage.Config, stage.command, prog="python -m pipeline.data", args=args)


# What is done to a file reads all of it.
_LARGE = 1 << 24
_FORMS = ("coco", "csv", "labelme", "via", "voc", "yolo")
_TEXTS = (".json", ".txt", ".xml", ".csv", ".yaml")
_NUMBERS = (
    *("0", "-1", "-0", "1e999", "-1e999", "NaN", "Infinity", "1e-320", "0.5", "2", "99999999999999999999999", "1e18"),
    *("2147483648", "-2147483649", "9223372036854775808", "0x10", "1_000", "٣", "1,5", "", "true", "null", "1e5"),
)
_NAMES = (
    *("", " ", "\x1b[2J", "\x00", "a\nb", "../../../../etc/passwd", "/dev/zero", "/etc/passwd", "CON", "\ud800", "é"),
    *("x" * 300, "x" * 70000, "$(touch hacked)", "<script>", "%s%n", "🂡", "\u202e", ".", "..", "a/b", "images", "=1+1"),
)


def _leaf(source: random.Random) -> Any:
    """A value that no tool writes in that place."""
    values: list[Callable[[], Any]] = [
        lambda: source.choice([0, -1, 1, 2**31, 2**63, -(2**63), 10**30, 10**400, 0.1, -0.0, 1e-320, 1e308]),
        lambda: source.choice([float("nan"), float("inf"), float("-inf")]),
        lambda: source.choice(_NAMES),
        lambda: source.choice(_NUMBERS),
        lambda: source.choice([None, True, False, [], {}, [[]], {"": {}}, [None], [[0, 0]], [{}], [1, 2, 3, 4, 5]]),
        lambda: [0] * source.choice([3, 4, 5, 100000]),
        lambda: {str(n): n for n in range(source.choice([1, 50000]))},
    ]
    return source.choice(values)()


def _json_value(path: Path, source: random.Random) -> bool:
    """A value somewhere in it is another, gone, or there twice."""
    try:
        said = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return False
    places: list[tuple[Any, Any]] = []
    left = [said]
    while left:
        node = left.pop()
        keys = node.keys() if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ()
        places += [(node, key) for key in keys]
        left += [node[key] for key in keys]
    if not places:
        return False
    node, key = source.choice(places)
    what = source.randrange(5)
    if what == 0:
        del node[key]
    elif what == 1 and isinstance(node, list):
        node.extend([node[key]] * source.choice([1, 3]))
    elif what == 2:
        other, place = source.choice(places)
        if not _holds(other[place], node):
            node[key] = other[place]
    elif what == 3 and isinstance(node, dict):
        node[str(_leaf(source))[:50]] = node.pop(key)
    else:
        node[key] = _leaf(source)
    path.write_bytes(json.dumps(said, ensure_ascii=source.random() < 0.5).encode(errors="surrogatepass"))
    return True


def _holds(tree: Any, node: Any) -> bool:
    """Whether `node` is in `tree`: put into itself it would have no end."""
    if tree is node:
        return True
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return any(_holds(child, node) for child in children)


def _token(path: Path, source: random.Random) -> bool:
    """A number or a word of it is another."""
    text = path.read_text(errors="replace")
    found = list(re.finditer(r"[-\w.]+", text))
    if not found:
        return False
    for match in sorted(source.sample(found, min(len(found), source.choice([1, 1, 5]))), key=re.Match.start)[::-1]:
        text = text[: match.start()] + source.choice(_NUMBERS + _NAMES) + text[match.end() :]
    path.write_bytes(text.encode(errors="surrogatepass"))
    return True


def _bytes(path: Path, source: random.Random) -> None:
    """Bytes of it are others."""
    data = bytearray(path.read_bytes() or b"\0")
    for _ in range(source.choice([1, 4, 50])):
        data[source.randrange(len(data))] = source.choice([0, 10, 34, 0x1B, 0x80, 0xFF, source.randrange(256)])
    path.write_bytes(data)


def _cut(path: Path, source: random.Random) -> None:
    """It ends in the middle."""
    data = path.read_bytes()
    path.write_bytes(data[: source.randrange(len(data) + 1)])


def _encoded(path: Path, source: random.Random) -> None:
    """It is in another encoding."""
    text = path.read_bytes().decode(errors="replace")
    path.write_bytes(text.encode(source.choice(["utf-16", "utf-8-sig", "utf-32", "cp037", "utf-16-be"]), "replace"))


def _long(path: Path, source: random.Random) -> None:
    """It has a line of megabytes, or brackets without end."""
    with open(path, "ab") as file:
        file.write(source.choice([b"[", b'{"a":', b"1 ", b"<a>", b"- ", b'"', b"&a", b"\0"]) * (1 << 19))


def _bomb(path: Path, source: random.Random) -> None:
    """A few bytes that stand for gigabytes."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 12))
    aliases = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))
    path.write_text(
        {
            ".xml": f'<!DOCTYPE x [<!ENTITY a0 "lol">{entities}]><annotation>&a11;</annotation>',
            ".yaml": f"a0: &a0 [x]\n{aliases}\nnames: *a11\n",
            ".json": '{"images":' + "[" * 200000,
            ".csv": "filename,class,xmin,ymin,xmax,ymax\n" + '"' * 100001,
        }.get(path.suffix, "0 " + "9" * 1000000)
    )


def _swapped(path: Path, source: random.Random) -> None:
    """It is what another file was, if that is not so large that a copy would fill the disk."""
    others = [
        other
        for other in path.parent.iterdir()
        if other.is_file() and not other.is_symlink() and other != path and other.stat().st_size < _LARGE
    ]
    if others:
        shutil.copy(source.choice(sorted(others)), path)


def _renamed(path: Path, source: random.Random) -> bool:
    """Its name is hostile."""
    name = source.choice([*_NAMES, b"\xff\xfe".decode("utf-8", "surrogateescape")])
    name = re.sub(r"[\x00/\ud800]", "_", name)[:200].strip(".") or "_"
    path.rename(path.with_name(f"{name}{path.suffix}"))
    return True


def _other_kind(path: Path, source: random.Random) -> bool:
    """No regular file is there: a pipe, a device, a folder, a loop, a link to what is not for us."""
    path.unlink()
    what = source.randrange(7)
    if what == 0:
        os.mkfifo(path)
    elif what == 1:
        path.mkdir()
    else:
        path.symlink_to([path.name, "/dev/zero", "/dev/random", "/proc/self/mem", "..", "nowhere"][what - 2])
    return True


def _empty(path: Path, source: random.Random) -> None:
    """There is nothing in it."""
    path.write_bytes(b"")


def huge(path: Path, source: random.Random) -> None:
    """It is as large as no file of its kind, on a disk that keeps no zeros."""
    os.truncate(path, 1 << 36)


def _picture(path: Path, source: random.Random) -> bool:
    """Its header says that it is as large as no picture."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg", ".bmp"):
        return False
    from PIL import Image

    sides = source.choice([(60000, 60000), (1, 65500), (65500, 1), (1, 1), (30000, 3)])
    data = bytearray(path.read_bytes())
    if data[:4] == b"\x89PNG":
        import zlib

        data[16:24] = sides[0].to_bytes(4, "big") + sides[1].to_bytes(4, "big")
        data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
        path.write_bytes(data)
    else:
        # Within what a test may take: as wide as it may be, and one high.
        Image.new("L", (sides[0] if sides[1] == 1 else 1, 1)).save(path)
    return True


DAMAGE: tuple[Callable[[Path, random.Random], bool | None], ...] = (
    *(_json_value, _json_value, _json_value, _json_value, _token, _token, _token, _bytes, _cut, _encoded, _long),
    *(_bomb, _swapped, _renamed, _other_kind, _empty, huge),
)
FILE_DAMAGE: tuple[Callable[[Path, random.Random], bool | None], ...] = (
    *(_bytes, _cut, _swapped, _renamed, _other_kind, _empty, huge, _picture, _picture),
)


if __name__ == "__main__":
    cli.main(Config, run, prog="python benchmarks/hostile_sets.py", description=__doc__)
