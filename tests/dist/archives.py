"""What `make dist` made, looked into: ``python tests/dist/archives.py dist`` prints contents and sizes.

The wheel must hold the packages and their data, the same as the source archive, and nothing else; its only pictures are
the photographs that `micro-yolo demo` trains on, without a network.
"""

from __future__ import annotations

import sys
import tarfile
import tomllib
import zipfile
from collections import Counter
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[2]
MIB = 1 << 20
# Start weights 3.2, photographs of the demo 2.5, code; a file that has no business in it is soon seen.
MOST_BYTES = 8 * MIB
PICTURES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".bmp", ".tif"}
OURS = {*PICTURES, ".py", ".npz", ".json", ".md", ".js", ".css", ".html", ".j2", ".svg", ".in", ".c", ".h", ".cpp", ""}
DEMO = "micro_yolo/pipeline/cards/images/"
NEEDED = {
    "micro_yolo/__init__.py", "micro_yolo/model/start/mobilenet_v2_coco.npz", "micro_yolo/pipeline/web/index.html",
    "micro_yolo/pipeline/cards/LICENSE", "micro_yolo/tflite/targets/mcu_files/micro_yolo.c", "pipeline/__init__.py",
}  # fmt: skip
TOLD = {"README.md", "LICENSE", "NOTICE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"}


def faults(wheel: dict[str, int], source: dict[str, int], packages: list[str]) -> list[str]:
    """What is wrong with the two, a line each.

    Args:
        wheel: path -> bytes of each file in it.
        source: likewise, without the archive's own folder.
        packages: as pyproject.toml lists them.
    """
    inner = {name: size for name, size in wheel.items() if ".dist-info/" not in name}
    folders = {str(PurePosixPath(name).parent).replace("/", ".") for name in inner if name.endswith(".py")}
    found = [f"wheel: lacks {name}" for name in sorted(NEEDED - inner.keys())]
    found += [f"source archive: lacks {name}" for name in sorted(TOLD - source.keys())]
    found += [f"wheel: lacks package {name}" for name in sorted(set(packages) - folders)]
    found += [f"wheel: {name} is no package of ours" for name in sorted(folders - set(packages))]
    for name in sorted(inner):
        suffix = PurePosixPath(name).suffix
        if suffix in PICTURES and not name.startswith(DEMO):
            found.append(f"wheel: {name} is a picture")
        elif suffix not in OURS or "test" in PurePosixPath(name).parts[0] or "node_modules" in name:
            found.append(f"wheel: {name} has no business there")
    found += [f"source archive: {name} is a test" for name in sorted(source) if name.startswith("tests/")]
    for what, files in (("wheel", wheel), ("source archive", source)):
        if sum(files.values()) > 2 * MOST_BYTES:
            found.append(f"{what}: must unpack to at most {2 * MOST_BYTES:,} bytes, got {sum(files.values()):,}")
    return found


def in_wheel(path: Path) -> dict[str, int]:
    """Path -> bytes of each file."""
    with zipfile.ZipFile(path) as archive:
        return {entry.filename: entry.file_size for entry in archive.infolist() if not entry.is_dir()}


def in_source(path: Path) -> dict[str, int]:
    """Path -> bytes of each file, without the folder in which all are."""
    with tarfile.open(path) as archive:
        return {entry.name.partition("/")[2]: entry.size for entry in archive if entry.isfile()}


def main() -> int:
    """Print what is in the archives of a folder; 1 if something is wrong with them."""
    folder = Path(sys.argv[1])
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    (wheel,), (source,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    contents = {wheel: in_wheel(wheel), source: in_source(source)}
    found = faults(contents[wheel], contents[source], packages)
    for path, files in contents.items():
        size = path.stat().st_size
        kinds = Counter(PurePosixPath(name).suffix or "no suffix" for name in files)
        print(
            f"{path.name}: {size:,} bytes, {len(files)} files: {', '.join(f'{n} {k}' for k, n in kinds.most_common())}"
        )
        if size > MOST_BYTES:
            found.append(f"{path.name}: must be at most {MOST_BYTES:,} bytes, got {size:,}")
    print("\n".join(found) or "contents as they should be")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
