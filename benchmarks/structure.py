"""How a checkout is built: modules, imports, cycles, folders and the longest file.

    python benchmarks/structure.py . ../before
    python benchmarks/structure.py --map       # docs/architecture.md ends in this

A checkout is read in a process of its own, by grimp, which import-linter brings; nothing of it is run.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing

PROG = "python benchmarks/structure.py"
FOLDERS = ("model", "tflite", "pipeline")


@dataclass(frozen=True)
class Config:
    """Count what the product's code is made of, a column for each checkout."""

    checkouts: tyro.conf.Positional[tuple[Path, ...]] = (Path(),)
    """Folders that hold model/, tflite/ and pipeline/."""
    map: bool = False
    """Print every room and module of this checkout with its first lines instead, as Markdown."""


def map_of(root: Path) -> str:
    """Every package and module below `root` with the first paragraph of its docstring, as Markdown."""
    lines = []
    for folder in ("micro_yolo", *FOLDERS):
        for package in sorted(path.parent for path in (root / folder).rglob("__init__.py")):
            if any(part.is_symlink() for part in (package, *package.parents)) or package.name == "command":
                continue
            lines += [f"### {package.relative_to(root)}/", "", _first(package / "__init__.py"), ""]
            modules = sorted(path for path in package.glob("*.py") if path.name != "__init__.py")
            lines += [*(f"- `{path.name}`: {_first(path)}" for path in modules), ""]
    return "\n".join(lines)


def _first(path: Path) -> str:
    paragraph = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
    return " ".join(paragraph.split())


def measure(root: Path) -> dict[str, int | str]:
    """The figures of the checkout in `root`, which is the working directory of this process."""
    import grimp

    sys.path.insert(0, str(root))
    packages = ("micro_yolo",) if (root / "micro_yolo").is_dir() else FOLDERS
    graph = grimp.build_graph(*packages, cache_dir=None)
    files = sorted(path for folder in FOLDERS for path in (root / folder).rglob("*.py"))
    lines = {path: len(path.read_text().splitlines()) for path in files}
    longest = max(files, key=lines.__getitem__)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    folders = Counter(path.parent for path in files)
    fullest, count = folders.most_common(1)[0]
    return {
        "modules": len(files),
        "lines": sum(lines.values()),
        "imports": sum(map(len, imports.values())),
        "modules in cycles": sum(len(cycle) for cycle in cycles(imports)),
        "longest file": f"{longest.relative_to(root)}, {lines[longest]}",
        "most files side by side": f"{count} in {fullest.relative_to(root)}/",
    }


def cycles(imports: dict[str, set[str]]) -> list[set[str]]:
    """Groups of modules each of which imports, perhaps by way of others, all of its group."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        found: set[str] = set()
        left = [module]
        while left:
            for other in imports.get(left.pop(), set()) - found:
                found.add(other)
                left.append(other)
        reached[module] = found
    groups = {frozenset(o for o in reached[m] if m in reached[o]) for m in imports if m in reached[m]}
    return [set(group) for group in groups]


def run(config: Config) -> None:
    """Measure each checkout and print a table, or the map. Raises ValueError for a folder that is none."""
    from rich.console import Console

    if config.map:
        print(map_of(Path(__file__).resolve().parent.parent))
        return
    found = []
    for checkout in config.checkouts:
        if not all((checkout / folder).is_dir() for folder in FOLDERS):
            raise ValueError(f"{checkout}: must hold {', '.join(FOLDERS)}; allowed: the root of a clone")
        done = subprocess.run(
            [sys.executable, __file__, "--alone"], cwd=checkout, capture_output=True, text=True, check=True
        )
        found.append(json.loads(done.stdout))
    table = listing("", *(str(checkout) for checkout in config.checkouts), words=(0,))
    for name in found[0]:
        table.add_row(name, *(f"{each[name]:,}" if isinstance(each[name], int) else each[name] for each in found))
    Console().print(table)


if __name__ == "__main__":
    if sys.argv[1:] == ["--alone"]:
        print(json.dumps(measure(Path.cwd())))
        sys.exit()
    cli.main(Config, run, prog=PROG, description=__doc__)
