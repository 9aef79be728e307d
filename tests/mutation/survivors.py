"""After `mutmut run`: the changes of the code that no test noticed, beside the list of those that change nothing.

`survivors.toml` beside this file explains each: in which function, what was put in the place of what, and why no test
can notice. An entry covers every such change in the function. A survivor without an entry fails, and so does an entry
without a survivor.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mutmut.mutation.diff_apply import get_diff_for_mutant
from mutmut.stats import status_by_exit_code

LIST = Path(__file__).with_suffix(".toml")
MUTANTS = Path("mutants")
NOTICED = {"killed", "timeout", "segfault", "caught by type check"}


def statuses() -> Iterator[tuple[str, str, str]]:
    """(name, file, status) of each mutant of the last run."""
    for meta in sorted(MUTANTS.rglob("*.py.meta")):
        file = str(meta.relative_to(MUTANTS).with_suffix(""))
        for name, code in json.loads(meta.read_text())["exit_code_by_key"].items():
            yield name, file, status_by_exit_code[code]


def function_of(name: str) -> str:
    """``tflite.image.Fit.boxes_to_model`` of mutmut's ``micro_yolo.tflite.image.xǁFitǁboxes_to_model__mutmut_2``."""
    module, _, rest = name.removeprefix("micro_yolo.").rpartition(".")
    rest = re.sub(r"__mutmut_\d+$", "", rest)
    return f"{module}.{rest.removeprefix('x_') if rest.startswith('x_') else rest[2:].replace('ǁ', '.')}"


def change_of(diff: str) -> tuple[str, str]:
    """The lines of a diff that went and those that came, each without its indentation."""
    lines = [line for line in diff.splitlines() if not line.startswith(("---", "+++"))]
    gone, come = ([" ".join(line[1:].split()) for line in lines if line[:1] == sign] for sign in "-+")
    return "\n".join(gone), "\n".join(come)


def covers(entry: dict[str, Any], function: str, gone: str, come: str) -> bool:
    """Whether an entry speaks of a change: `new` in one place of `old` makes the lines that went those that came."""
    if not re.fullmatch(entry["where"], function):
        return False
    places = [found.start() for found in re.finditer(re.escape(entry["old"]), gone)]
    return any(gone[:at] + entry["new"] + gone[at + len(entry["old"]) :] == come for at in places)


def main() -> int:
    """Print what is unexplained, and what is explained in vain; 1 if there is any."""
    told = tomllib.loads(LIST.read_text())
    entries, elsewhere = told["survivor"], [entry["where"] for entry in told["elsewhere"]]
    found = list(statuses())
    if not found:
        print(f"{MUTANTS}: nothing was tried; `mutmut run` does it")
        return 1
    used: set[int] = set()
    unexplained = 0
    for name, file, status in found:
        if status in NOTICED:
            continue
        if status == "no tests" and any(re.fullmatch(where, function_of(name)) for where in elsewhere):
            continue
        diff = get_diff_for_mutant(name, path=file)
        gone, come = change_of(diff)
        mine = {n for n, entry in enumerate(entries) if covers(entry, function_of(name), gone, come)}
        used |= mine
        if not mine:
            unexplained += 1
            print(f"\n{function_of(name)} ({name}): {status}\n- {gone}\n+ {come}")
    idle = [entry for n, entry in enumerate(entries) if n not in used]
    for entry in idle:
        print(f"\n{entry['where']}: no such survivor: {entry['old']!r} -> {entry['new']!r}")
    counts = Counter(status for _, _, status in found)
    summary = ", ".join(f"{count} {status}" for status, count in counts.most_common())
    print(f"\n{len(found)} changes: {summary}; {unexplained} unexplained, {len(idle)} explanations without a survivor")
    return int(bool(unexplained or idle))


if __name__ == "__main__":
    sys.exit(main())
