"""Figures in the documents, filled in from files that the measuring commands wrote.

    python benchmarks/figures.py keep NAME python -m pipeline.evaluate --model FILE --data DATA
    python benchmarks/figures.py keep --from RUN/metrics_int8.json NAME python -m pipeline.evaluate ...
    python benchmarks/figures.py fill

`keep` runs a measuring command and keeps what it measured as docs/figures/NAME.json, with the command, the commit of
the code and the date; with `--from` it takes what the command has left already. `fill` writes the figures into the
pages, between two comments:

    <!-- figures NAME -->  a block: docs/figures/NAME.md.j2, or NAME.json itself if it has columns and rows, or a text
    <!-- = NAME.AP50|fixed(1) -->88.1<!-- = -->  a figure in a sentence

Both are Jinja over all files by their names. A test fills the pages anew and sees whether they are as they were.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import reference

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs/figures"
PAGES = ("README.md", "android_demo/README.md", "docs/*.md")
NAME = re.compile(r"[a-z][a-z0-9_]*")
BLOCK = re.compile(r"(<!-- figures ([a-z]\w*) -->\n\n).*?(\n\n<!-- /figures -->)", re.DOTALL)
INLINE = re.compile(r"(<!-- = ([a-z(].*?) -->)[^\n]*?(<!-- = -->)")
# Longer lists are single measurements, of which the summary is beside them.
LONGEST = 35
# Where a command leaves what it measured: in its run, in a file that it is told, or on its standard output.
IN_RUN = {
    "pipeline.stages": "stages.json",
    "pipeline.curve": "curve/curve.json",
    "pipeline.search": "search/search.json",
}
TO_FILE = ("pipeline.benchmark", "pipeline.edge")
TO_OUTPUT = ("pipeline.evaluate", "pipeline.inspect", "pipeline.summary")
# A folder of a run, behind which a path says what it is of.
_PLACES = ("export", "train", "prune", "qat", "debug", "search", "curve")


def keep(name: str, command: Sequence[str], taken: Path | None = None, folder: Path = FOLDER) -> Path:
    """Run `command`, or take the file it has left, and write docs/figures/NAME.json.

    Raises ValueError if the name is none, the command fails, or what it printed is not JSON where that was asked for.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"name of a figure: lower-case letters, digits and _, got {name!r}")
    if not command:
        raise ValueError(f"{name}: the command that measures must follow")
    values = json.loads(taken.read_text()) if taken else measured(command)
    versions = values.pop("versions", {}) if isinstance(values, dict) else {}
    date = time.strftime("%Y-%m-%d", time.localtime(taken.stat().st_mtime if taken else None))
    said = {
        "command": without_places(" ".join(["python", *command[1:]] if command[0].endswith("python") else command)),
        "commit": versions.get("commit") or output(["git", "rev-parse", "HEAD"]).strip(),
        "date": date,
        "values": plain(values),
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(said, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def measured(command: Sequence[str]) -> Any:
    """What `command` measured: its JSON if it is one of those that have some, else what it prints, as text."""
    module = command[command.index("-m") + 1] if "-m" in command else ""
    if module in TO_OUTPUT:
        return json.loads(output([*command, *(["--json"] if "--json" not in command else [])]))
    if module in TO_FILE and "--json" not in command:
        with tempfile.TemporaryDirectory() as place:
            return json.loads(left([*command, "--json", f"{place}/measured.json"], Path(place) / "measured.json"))
    if "--json" in command:
        return json.loads(left(command, Path(command[command.index("--json") + 1])))
    if module in IN_RUN:
        return json.loads(left(command, Path(command[command.index("--run") + 1]) / IN_RUN[module]))
    return {"printed": without_places(output(command).strip("\n"))}


def left(command: Sequence[str], file: Path) -> str:
    """Text of the file that `command` leaves."""
    output(command)
    return file.read_text(encoding="utf-8")


def output(command: Sequence[str]) -> str:
    """Standard output of a command that ends well; its errors go to this terminal."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: ended with status {done.returncode}")
    return done.stdout


def plain(value: Any) -> Any:
    """`value` without places of this machine, and without long lists of single measurements."""
    if isinstance(value, dict):
        kept = {key: one for key, one in value.items() if not (isinstance(one, list) and len(one) > LONGEST)}
        return {without_places(key): plain(one) for key, one in kept.items()}
    if isinstance(value, list):
        return [plain(one) for one in value]
    return without_places(value) if isinstance(value, str) else value


def without_places(text: str) -> str:
    """Absolute paths begin at the run's name, or are the last name alone."""

    def shorter(found: re.Match[str]) -> str:
        parts = found[0].split("/")
        first = min((parts.index(place) - 1 for place in _PLACES if place in parts[2:]), default=len(parts) - 1)
        return "/".join(parts[first:])

    return re.sub(r"(?<![\w.:/~])/(?:[^/\s\"']+/)+[^/\s\"']+", shorter, text)


def known(folder: Path = FOLDER) -> dict[str, Any]:
    """All files by their names: their values beside command, commit and date; a list of values is called ``all``."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        values = said.pop("values")
        found[path.stem] = {**said, **values} if isinstance(values, dict) else {**said, "all": values}
    return found


def environment(folder: Path = FOLDER) -> jinja2.Environment:
    """Jinja with the files as globals; what is not there is an error."""
    jinja = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )
    jinja.filters["fixed"] = lambda number, digits=1: f"{number:.{digits}f}"
    jinja.filters["thousands"] = lambda number: f"{number:,.0f}"
    jinja.filters["KiB"] = lambda n_bytes, digits=0: f"{n_bytes / 1024:,.{digits}f}"
    jinja.filters["MiB"] = lambda n_bytes, digits=1: f"{n_bytes / 2**20:,.{digits}f}"
    jinja.filters["millions"] = lambda number, digits=1: f"{number / 1e6:,.{digits}f}"
    jinja.filters["of"] = lambda rows, name: next(row for row in rows if Path(row["model"]).stem == name)
    jinja.filters["tables"] = lambda text: "\n".join(line for line in text.split("\n") if line.startswith("|"))
    jinja.filters["file"] = lambda files, stage, variant: next(
        file for file in files if (file["stage"], file["variant"]) == (stage, variant)
    )
    jinja.filters["mean"] = statistics.fmean
    jinja.filters["ends"] = lambda values: f"{(ordered := sorted(values))[0]:.1f} to {ordered[-1]:.1f}"
    jinja.globals.update(known(folder), commands=reference.commands)
    return jinja


def filled(text: str, jinja: jinja2.Environment) -> str:
    """A page with its figures as the files say them.

    Raises ValueError for a figure that no file has.
    """

    def block(found: re.Match[str]) -> str:
        name = found[2]
        if f"{name}.md.j2" in jinja.list_templates():
            inside = jinja.get_template(f"{name}.md.j2").render().strip("\n")
        else:
            inside = as_it_is(name, jinja.globals)
        return f"{found[1]}{inside}{found[3]}"

    def inline(found: re.Match[str]) -> str:
        return f"{found[1]}{jinja.from_string('{{ ' + found[2] + ' }}').render()}{found[3]}"

    try:
        return INLINE.sub(inline, BLOCK.sub(block, text))
    except jinja2.TemplateError as error:
        raise ValueError(f"docs/figures: {type(error).__name__}: {error}") from None


def as_it_is(name: str, values: Any) -> str:
    """A file with columns and rows as a table, one with a text as that."""
    if name not in values:
        raise ValueError(f"docs/figures: neither {name}.json nor {name}.md.j2 is there")
    found = values[name]
    if "columns" in found:
        lines = [found["columns"], ["---"] * len(found["columns"]), *found["rows"]]
        return "\n".join(re.sub(" +", " ", f"| {' | '.join(map(str, cells))} |") for cells in lines)
    return f"```console\n$ {found['command']}\n{found['printed']}\n```"


def pages() -> list[Path]:
    """The documents that may have figures."""
    return sorted(path for pattern in PAGES for path in ROOT.glob(pattern))


def fill() -> list[Path]:
    """Write the figures into the pages; the pages that changed."""
    jinja, changed = environment(), []
    for path in pages():
        text = path.read_text(encoding="utf-8")
        try:
            new = filled(text, jinja)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(ROOT)}: {error}") from None
        if new != text:
            path.write_text(new, encoding="utf-8")
            changed.append(path)
    return changed


def main() -> None:
    """Keep a figure, or fill the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    keeping = parts.add_parser("keep", help="measure, and keep what was measured as docs/figures/NAME.json")
    keeping.add_argument("name")
    keeping.add_argument("--from", dest="taken", type=Path, help="a file that the command has left already")
    keeping.add_argument("command", nargs=argparse.REMAINDER)
    parts.add_parser("fill", help="write the figures into the pages")
    asked = parser.parse_args()
    try:
        if asked.part == "keep":
            written = [keep(asked.name, [word for word in asked.command if word != "--"], asked.taken)]
        else:
            written = fill()
    except (ValueError, OSError) as error:
        print(f"figures: {error}", file=sys.stderr)
        sys.exit(2)
    for path in written:
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
