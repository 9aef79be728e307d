"""Which of Android's classes and members the app uses that the oldest Android it runs on does not have."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Used behind a look at SDK_INT, in Insets.kt. What was there but hidden at the time (Context.getDisplay) is not seen.
GUARDED = frozenset(
    {
        "android/view/Window.setDecorFitsSystemWindows(Z)V",
        "android/view/WindowInsets$Type",
        "android/view/WindowInsets$Type.displayCutout()I",
        "android/view/WindowInsets$Type.systemBars()I",
        "android/view/WindowInsets.getInsets(I)Landroid/graphics/Insets;",
    }
)
# Bytes of a constant after its tag (JVM specification, table 4.4-A); 1 (text) has its length in front.
_SIZES = {3: 4, 4: 4, 5: 8, 6: 8, 7: 2, 8: 2, 9: 4, 10: 4, 11: 4, 12: 4, 15: 3, 16: 2, 17: 4, 18: 4, 19: 2, 20: 2}


@dataclass(frozen=True)
class ClassFile:
    """What a class file says of itself.

    Attributes:
        name: as in java/lang/String.
        parents: its superclass and interfaces.
        members: ``name`` of its fields, ``name(...)...`` of its methods.
        classes: the classes it refers to.
        references: (class, member) it refers to.
    """

    name: str
    parents: tuple[str, ...]
    members: frozenset[str]
    classes: frozenset[str]
    references: frozenset[tuple[str, str]]


def newer(app: list[Path], oldest: Path) -> list[str]:
    """What the classes in the jars `app` use of android.* and the jar `oldest` does not have, sorted."""
    with zipfile.ZipFile(oldest) as old:
        names = set(old.namelist())
        known: dict[str, ClassFile] = {}
        own = {found.name: found for jar in app for found in _classes(jar)}

        def lookup(name: str) -> ClassFile | None:
            if name not in known and f"{name}.class" in names:
                known[name] = parse(old.read(f"{name}.class"))
            return own.get(name) or known.get(name)

        def has(name: str, member: str) -> bool:
            found = lookup(name)
            if found is None:
                # Of Java's own classes the compiler has seen to; it knows only those of Java 8.
                return not name.startswith(("android/", "org/microyolo/"))
            # Every class has Object's members, and then cannot lack any other.
            return member in found.members or any(
                has(parent, member) for parent in found.parents if parent != "java/lang/Object" or member in _OBJECT
            )

        missing = set()
        for found in own.values():
            missing |= {name for name in found.classes if name.startswith("android/") and lookup(name) is None}
            missing |= {
                f"{name}.{member}"
                for name, member in found.references
                if name.startswith(("android/", "org/microyolo/")) and not has(name, member)
            }
    return sorted(missing)


def parse(data: bytes) -> ClassFile:
    """Read a class file (JVM specification, chapter 4)."""
    pool, at = _pool(data)

    def name(index: int) -> str:
        return str(pool[pool[index][0]])

    at += 2
    this, parent, count = struct.unpack_from(">HHH", data, at)
    interfaces = struct.unpack_from(f">{count}H", data, at + 6)
    at += 6 + 2 * count
    members = set()
    for _ in range(2):
        (count,) = struct.unpack_from(">H", data, at)
        at += 2
        for _ in range(count):
            _, called, described, attributes = struct.unpack_from(">HHHH", data, at)
            members.add(_member(pool[called], pool[described]))
            at += 8
            for _ in range(attributes):
                at += 6 + struct.unpack_from(">I", data, at + 2)[0]
    entries = [entry for entry in pool if isinstance(entry, tuple)]
    references = set()
    for entry in entries:
        if entry[-1] in (9, 10, 11):
            called, described, _ = pool[entry[1]]
            references.add((name(entry[0]), _member(pool[called], pool[described])))
    classes = {str(pool[entry[0]]) for entry in entries if entry[-1] == 7}
    return ClassFile(
        name(this),
        tuple(name(index) for index in (parent, *interfaces) if index),
        frozenset(members),
        frozenset(classes),
        frozenset(references),
    )


_OBJECT = {
    "<init>()V",
    "clone()Ljava/lang/Object;",
    "equals(Ljava/lang/Object;)Z",
    "getClass()Ljava/lang/Class;",
    "hashCode()I",
    "toString()Ljava/lang/String;",
}


def _member(name: str, descriptor: str) -> str:
    return f"{name}{descriptor}" if descriptor.startswith("(") else name


def _classes(jar: Path) -> Iterator[ClassFile]:
    with zipfile.ZipFile(jar) as file:
        yield from (parse(file.read(name)) for name in file.namelist() if name.endswith(".class"))


def _pool(data: bytes) -> tuple[list, int]:
    """The constants, each a text, a tuple that ends in its tag, or None; and where they end."""
    (count,) = struct.unpack_from(">H", data, 8)
    pool: list = [None]
    at = 10
    while len(pool) < count:
        tag = data[at]
        if tag == 1:
            (length,) = struct.unpack_from(">H", data, at + 1)
            pool.append(data[at + 3 : at + 3 + length].decode("utf-8", "replace"))
            at += 3 + length
            continue
        if tag in (7, 8, 16, 19, 20):
            pool.append((*struct.unpack_from(">H", data, at + 1), tag))
        elif tag in (9, 10, 11, 12):
            pool.append((*struct.unpack_from(">HH", data, at + 1), tag))
        else:
            pool.append(None)
        if tag in (5, 6):
            pool.append(None)
        at += 1 + _SIZES[tag]
    return pool, at
