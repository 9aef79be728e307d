"""The inputs of shared/cases, each with its right outcome; `case_table` has them."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from case_table import CASES, ELSEWHERE

from micro_yolo.pipeline.data import load, tree
from micro_yolo.pipeline.data.beyond import beyond

ROOT = Path(__file__).resolve().parents[2]


def listed(shared_cases):
    return re.findall(r"^\| ([A-Z]\d\d) \|", (shared_cases / "CASES.md").read_text(encoding="utf-8"), re.M)


def test_none_is_left_out(shared_cases):
    ids = listed(shared_cases)
    assert len(ids) == 90 and set(ids) == {*CASES, *ELSEWHERE} and not {*CASES} & {*ELSEWHERE}
    told = (ROOT / "docs" / "cases.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| ([A-Z]\d\d) \|", told, re.M)) == set(ids)
    assert all((ROOT / test).is_file() for test in ELSEWHERE.values())


@pytest.mark.parametrize("case", CASES)
def test_case(case, shared_cases, monkeypatch):
    # Whether a library is installed that reads HEIC is no part of what is tried.
    monkeypatch.setattr(tree, "reads_heic", lambda: False)
    path, right = shared_cases / case / "set", CASES[case]
    if not right.form:
        with pytest.raises(ValueError) as error:
            load(path)
        assert "\n" not in str(error.value) and all(said in str(error.value) for said in right.said)
        return
    data = load(path)
    assert (data.format, ",".join(data.names)) == (right.form, right.names)
    assert {name: (len(split), len(split.classes)) for name, split in data.splits.items()} == right.counts
    told = {problem.what for problem in data.problems}
    assert all(any(said in what for what in told) for said in right.said), told
    assert all(any(said in what for said in right.said) for what in told), told
    met = 0
    for split in data.splits.values():
        for index, file in enumerate(split.files):
            if right.first and "p0" in file.name:
                met += 1
                boxes = split.boxes_xyxy[split.rows(index)].tolist()
                np.testing.assert_allclose(sorted(boxes), sorted(right.first), atol=1.01, err_msg=file.name)
    assert bool(met) == bool(right.first)


def test_more_boxes_than_a_file_finds_are_told(shared_cases):
    """R07: 192 boxes on each picture."""
    told = beyond(load(shared_cases / "R07" / "set"))
    assert told and "192" in told and "--max-detections" in told


def test_make_setup_names_the_python_that_is_missing(tmp_path):
    """R20: where only another Python is there."""
    for name in ("python3", "python3.10"):
        other = tmp_path / name
        other.write_text("#!/bin/sh\necho 3.10\nexit 1\n")
        other.chmod(0o755)
    for tool in ("make", "sh", "echo", "test"):
        found = subprocess.run(["which", tool], capture_output=True, text=True, check=False).stdout.strip()
        if found:
            (tmp_path / tool).symlink_to(found)
    done = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "-C", ROOT, "setup", f"VENV={tmp_path / 'venv'}"],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "needs Python 3.11 to 3.13" in done.stderr + done.stdout
    assert not (tmp_path / "venv").exists()
