"""What others wrote, such as names of classes and files, neither acts on a terminal nor runs when it is pasted."""

import ast
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

import micro_yolo
from micro_yolo.model.printable import harmless, typed
from micro_yolo.pipeline.data.dataset import Problems
from micro_yolo.pipeline.show import cli
from micro_yolo.pipeline.show.listing import listing, wide_console
from micro_yolo.pipeline.show.screen import Screen
from micro_yolo.pipeline.store import runs

ROOT = Path(micro_yolo.__file__).resolve().parents[1]
HOSTILE = "\x1b[2J\x1b]0;owned\x07 \x9b31m \u202egnp.exe \udcff"
SHOWN = "\\x1b[2J\\x1b]0;owned\\x07 \\x9b31m \\x202egnp.exe \\xdcff"
SIGNS = set("\x1b\x07\x9b\u202e\udcff")


def test_every_way_to_a_screen_shows_signs_by_their_number(capsys):
    with Screen() as show:
        show.say(f"a {HOSTILE}\nb")
        show.warn(HOSTILE)
        table = listing("class", "n", title=HOSTILE, caption=HOSTILE, totals=(HOSTILE, "1"))
        table.add_row(HOSTILE, "1")
        show.draw(table)
    wide_console().print(HOSTILE, markup=False)
    with pytest.raises(SystemExit):
        cli._leave("program", f"{HOSTILE}: no such file", 2)
    told = capsys.readouterr()
    assert f"a {SHOWN}\nb\n" in told.out and SHOWN in told.err
    assert told.out.count("owned") == 6 and told.err.count("owned") == 2
    assert not SIGNS & set(told.out + told.err)


def test_bars_of_files_too():
    file = io.StringIO()
    with Screen() as show:
        show._bars.live.console = Console(file=file, force_terminal=True)
        show._bars.disable = False
        with show.bar(HOSTILE, 1) as advance:
            advance()
            assert {task.description for task in show._bars.tasks} == {SHOWN}


def test_nobody_else_makes_a_console():
    sources = [path for path in sorted((ROOT / "pipeline").rglob("*.py")) if path.name != "terminal.py"]
    assert [path for path in sources if re.search(r"(?<!\w)Console\(", path.read_text())] == []


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_sign_without_a_form_is_written_by_its_number(tmp_path, encoding):
    code = (
        "import sys, dataclasses\n"
        "from micro_yolo.pipeline.show import cli\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Config:\n    '''Say it.'''\n"
        "def run(config):\n    print('caf\\xe9 \\udcff'); raise ValueError('\\u4e00 \\udcff')\n"
        "cli.main(Config, run, prog='program', args=[])\n"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=False)
    assert ended.returncode == 2
    assert b"\\udcff" in ended.stdout and b"\\xdcff" in ended.stderr and b"Traceback" not in ended.stderr


def test_names_that_are_no_text_are_recorded_and_read_back(tmp_path):
    stage = tmp_path / "run" / "train"
    stage.mkdir(parents=True)
    place = os.fsdecode(b"/photos/\xff\xfe")
    runs.begin(stage, {"data": place}, data=place)
    assert (stage / runs.CONFIG).read_bytes().isascii()
    assert runs.read_json(stage / runs.CONFIG)["data"] == place
    assert json.loads(runs.write_json(tmp_path / "a.json", {place: HOSTILE}).read_bytes()) == {place: HOSTILE}


def test_a_stage_that_cannot_record_its_settings_is_not_left_half_made(tmp_path):
    stage = tmp_path / "run" / "train"
    stage.mkdir(parents=True)
    with pytest.raises(ValueError, match="JSON form"):
        runs.begin(stage, {"odd": object()})
    assert not stage.exists()


def test_words_of_a_command_run_nothing(tmp_path):
    hostile = tmp_path / "$(touch owned) `touch owned` 'a' \"b\"; touch owned &"
    ended = subprocess.run(["sh", "-c", f"printf %s {typed(hostile)}"], capture_output=True, cwd=tmp_path, check=True)
    assert ended.stdout.decode() == str(hostile)
    assert not (tmp_path / "owned").exists()
    assert typed(Path("runs/cells"), 3) == "runs/cells 3"


# What may stand in a printed command as it is: the project's own words.
OWN = {"PROG", "train.PROG", "prog", "from_stage", "half", "max_detections", "model.stem.removeprefix('model_')"}
OWN |= {"FEW", "config.form", "extra", "again", "largest", "how"}
# What a model card has in the type of code and is no command.
OWN |= {"step.name", "contract.model_sha256", "given.resize", "sha256"}


def commands_in(tree):
    """(line, expression) for each value that an f-string puts into a command it prints."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.JoinedStr):
            continue
        # `again` of pipeline.store.resume begins with the program.
        begins = re.match(r"f['\"]\{(\w+\.)?prog\} --", ast.unparse(node), re.I)
        within = begins is not None
        for part in node.values:
            if isinstance(part, ast.Constant):
                for piece in re.split("(`|next: |own images: |python -m )", part.value):
                    if piece == "`":
                        within = not within
                    elif piece in ("next: ", "own images: ", "python -m "):
                        within = True
            else:
                if within:
                    yield node.lineno, ast.unparse(part.value)


def test_every_printed_command_can_be_pasted():
    found = []
    for folder in ("pipeline", "tflite", "model", "micro_yolo"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for line, text in commands_in(ast.parse(path.read_text())):
                if text not in OWN and not text.startswith(("typed(", "shlex.join(")):
                    found.append(f"{path.relative_to(ROOT)}:{line}: {text}")
    assert found == []


def test_commands_on_pages_can_be_pasted():
    place = re.compile(r"(~|{{|\() ?(run|root|data\.path)\b(?! \| typed)")
    for template in sorted((ROOT / "pipeline" / "page" / "templates").glob("*.j2")):
        lines = [line for line in template.read_text().splitlines() if "python -m pipeline" in line]
        assert [line for line in lines if place.search(line)] == []


def test_harmless_leaves_what_people_write():
    for text in ("Zürich 犬 🐕", "a\\b"):
        assert harmless(text) == text


def test_a_name_without_end_is_told_by_its_beginning_and_its_end():
    problems = Problems()
    problems.add("a" * 200 + "9" * 1_000_000 + ".xml", "is not there")
    (told,) = problems.freeze()
    assert len(told.file) < 400
    assert told.file.startswith("aaa") and told.file.endswith("999.xml")
