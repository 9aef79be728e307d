"""How long ``--help`` of every command takes: ``python benchmarks/help_time.py``. The limit is 1 s."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 5


def main() -> None:
    """Print the median of `REPEATS` runs for each command, in ms."""
    files = sorted(path for path in (ROOT / "pipeline").rglob("*.py") if "__main__" in path.read_text() + path.name)
    for file in files:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
        times_ms = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
            times_ms.append((time.perf_counter() - start) * 1000)
        print(f"{module:24} {sorted(times_ms)[REPEATS // 2]:6.0f} ms")


if __name__ == "__main__":
    main()
