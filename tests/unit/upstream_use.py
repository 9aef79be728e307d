"""Which private and dying names of libraries the product's source uses: see test_upstream.py."""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from upstream_checks import TFMOT

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(path for folder in ("model", "pipeline", "tflite") for path in (ROOT / folder).rglob("*.py"))
# How the product calls a module, and what it is.
ALIASES = {"tfmot": TFMOT, "tf": "tensorflow", "keras": "tf_keras"}
# Of these every name counts, ...
DYING = (
    "ai_edge_litert",
    "flatbuffers",
    "keras_cv",
    TFMOT,
    "tensorflow.keras",
    "tensorflow.lite",
    "tf_keras.backend",
    "tyro.constructors",
)
# ... and these are looked at.
LIBRARIES = ("ai_edge_litert", "flatbuffers", "keras_cv", "optuna", TFMOT, "tensorflow", "tf_keras", "tyro")


def chain(node: ast.expr) -> str:
    """``a.b.c`` of a chain of attributes, "" of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    before = chain(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if before and isinstance(node, ast.Attribute) else ""


def is_private(name: str) -> bool:
    private = name.startswith("_") and not name.startswith("__") and name not in ("_", "_asdict", "_fields", "_replace")
    return private or name.startswith("experimental")


def is_inner(part: str) -> bool:
    """Whether a part of a module's path says that it is not for others; TensorFlow's and tfmot's say so by `python`."""
    return part == "python" or is_private(part)


def bound(tree: ast.AST) -> Iterator[str]:
    """The names a file itself gives to something, hooks of a library's classes excepted."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            # What is stored in another's object may be the other's name.
            if isinstance(node, ast.Name):
                yield node.id
            elif isinstance(node.value, ast.Name) and node.value.id in ("self", "cls"):
                yield node.attr
        elif isinstance(node, ast.arg):
            yield node.arg


def imported(tree: ast.AST) -> dict[str, str]:
    """Local name -> what it stands for, of all imports of a file."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.asname or alias.name.split(".")[0]
                names[name] = alias.name if alias.asname else name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dying(path: str) -> bool:
    return any(path == root or path.startswith(f"{root}.") for root in DYING)


def resolved(path: str, names: Mapping[str, str], exports: Mapping[str, str]) -> str:
    """A chain of attributes by what its first name stands for, through whichever of our modules it came."""
    root, _, rest = path.partition(".")
    path = ".".join(filter(None, (names.get(root, root), rest)))
    seen = set()
    while path not in seen:
        # A package imports its own modules by the name they have anyway.
        seen.add(path)
        parts = path.split(".")
        known = (end for end in range(len(parts), 1, -1) if ".".join(parts[:end]) in exports)
        end = next(known, 0)
        path = ".".join([exports[".".join(parts[:end])], *parts[end:]]) if end else path
    root, _, rest = path.partition(".")
    return ".".join(filter(None, (ALIASES.get(root, root), rest)))


def used(tree: ast.AST, exports: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Every name a file uses that must be in the table, with its line; ours among the private ones.

    `exports` is what the names in our modules stand for.
    """
    names = imported(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        if isinstance(node, ast.Import):
            yield from ((alias.name, line) for alias in node.names if dying(alias.name))
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                path = f"{node.module}.{alias.name}"
                if dying(path) or (path.startswith(LIBRARIES) and any(map(is_inner, path.split(".")))):
                    yield path, line
        if isinstance(node, ast.Attribute):
            path = resolved(chain(node), names, exports)
            if dying(path) and id(node) not in inner:
                yield path, line
            if is_private(node.attr) and path.split(".")[0] not in sys.stdlib_module_names:
                yield node.attr, line
        elif isinstance(node, ast.Call):
            yield from ((word.arg, line) for word in node.keywords if word.arg and is_private(word.arg))
            asks = isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr", "setattr")
            if (
                asks
                and len(node.args) > 1
                and isinstance(node.args[1], ast.Constant)
                and is_private(node.args[1].value)
            ):
                yield node.args[1].value, line


def hooks(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Private methods of classes that have a base of a library, with their lines: the library may be who calls them."""
    names = imported(tree)
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    for node in ast.walk(tree):
        roots = [chain(base).split(".")[0] for base in node.bases] if isinstance(node, ast.ClassDef) else []
        foreign = [
            root
            for root in roots
            if root and root not in own and not hasattr(builtins, root)
            if names.get(root, "").split(".")[0] not in sys.stdlib_module_names
        ]
        if foreign:
            for method in node.body:
                if isinstance(method, ast.FunctionDef) and is_private(method.name):
                    yield method.name, method.lineno


def leaned_on() -> dict[str, str]:
    """Name -> the first place that uses it."""
    trees = {path: ast.parse(path.read_text()) for path in SOURCES}
    exports: dict[str, str] = {}
    for path, tree in trees.items():
        module = ".".join(("micro_yolo", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
        exports |= {f"{module}.{name}": target for name, target in imported(tree).items()}
    attributes = {node.attr for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    attributes |= {node.id for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Name)}
    overridden = {name for tree in trees.values() for name, _ in hooks(tree) if name not in attributes}
    ours = {name for tree in trees.values() for name in bound(tree)} - overridden
    places: dict[str, str] = {}
    for path, tree in trees.items():
        for name, line in [*used(tree, exports), *hooks(tree)]:
            if "." in name or dying(name) or name not in ours:
                places.setdefault(name, f"{path.relative_to(ROOT)}:{line}")
    return places
