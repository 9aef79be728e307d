"""The cases of shared/cases that are about predicting: what people have, and its right outcome."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.show.draw import unwritable
from micro_yolo.tflite.image import reads_heic

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cases(shared_data: Path) -> Path:
    path = shared_data.parent / "cases"
    if not path.is_dir():
        pytest.skip("no shared/cases beside the project")
    return path


@pytest.fixture
def predict(exported: Path, command: Command) -> Command:
    def run(*args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
        return command("pipeline.predict", "--model", exported / "export" / "model_int8.tflite", *args, cwd=cwd)

    return run


def test_r09_results_among_the_pictures_twice(cases: Path, predict: Command, tmp_path: Path) -> None:
    shutil.copytree(cases / "R09" / "photos", tmp_path / "photos")
    for _ in range(2):
        done = predict("photos", "--out", "photos/out", "--overwrite", cwd=tmp_path)
        assert done.returncode == 0 and " in 3 pictures: " in done.stdout, done.stderr
    assert done.stderr == "warning: left out 3 pictures that predictions wrote\n"


def test_r10_what_lies_in_a_folder_of_photos(cases: Path, predict: Command, tmp_path: Path) -> None:
    """Letter case, blanks and umlauts, .jfif, a link to a folder, HEIC, and a video; the last two are broken."""
    shutil.copytree(cases / "R10" / "photos", tmp_path / "photos")
    for folder in (tmp_path / "photos", tmp_path / "photos" / "a"):
        folder.chmod(0o755)
    link = tmp_path / "photos" / "a" / "link"
    link.unlink()
    link.symlink_to("../b")
    done = predict("photos", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert " in 5 pictures, 2 skipped: out/detections.json" in done.stdout
    heic = "image is damaged or truncated" if reads_heic() else r"HEIC, which needs pi-heif; `pip install"
    assert f"warning: skipped photos/a/IMG_0.HEIC: {heic}" in done.stderr
    assert "warning: skipped photos/clip.mp4: " in done.stderr
    record = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert len({image["picture"].lower() for image in record["images"]}) == 5


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ("clip.mp4", "clip.mp4: (not a video that OpenCV can read, or damaged|needs cv2, which is not installed)"),
        ("7", "(camera 7: there is none, another program has it, or it may not be used|needs cv2)"),
        ("https://example.org/clip.mp4", "is an address, and nothing is fetched from a network; `curl -LO"),
        ("rtsp://camera/1", "is an address, and nothing is fetched from a network; `ffmpeg -t 60 -i"),
    ],
)
def test_r10_videos_cameras_and_addresses(named: str, said: str, cases: Path, predict: Command, tmp_path: Path) -> None:
    shutil.copy(cases / "R10" / "photos" / "clip.mp4", tmp_path)
    done = predict(named, cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert "Traceback" not in done.stderr
    assert re.search(said, done.stderr.splitlines()[-1]), done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (
            "best_full_integer_quant",
            "got 1, as YOLO exports of Ultralytics have, whose own `yolo predict` decodes it: int8",
        ),
        ("best_float32", "got 1, as YOLO exports of Ultralytics have"),
        ("classify", "got 1, as a classifier has"),
        ("grey", "its input must be one RGB picture"),
        ("batch4", "its input must be one RGB picture"),
    ],
)
def test_r12_other_models_are_refused_by_what_they_are(
    file: str, said: str, cases: Path, command: Command, tmp_path: Path
) -> None:
    photo = cases / "R09" / "photos" / "1.jpg"
    done = command("pipeline.predict", "--model", cases / "R12" / "model" / f"{file}.tflite", photo, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert said in done.stderr


def test_r15_names_in_other_scripts(
    cases: Path, model_copy: Callable[[str], Path], command: Command, tmp_path: Path
) -> None:
    """Its classes, given to a file that finds something: what cannot be written here is a number, and said."""
    names = load(cases / "R15" / "set").names
    model = model_copy("int8")
    contract = json.loads(model.with_suffix(".json").read_text())
    contract["labels"] = [*names, *contract["labels"][len(names) :]]
    model.with_suffix(".json").write_text(json.dumps(contract))
    photo = cases / "R15" / "set" / "images" / "val" / "val000.jpg"
    done = command("pipeline.predict", "--model", model, photo, "--score", 0.001, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    unknown = unwritable(names)
    # An emoji has colours, which no font that is looked for has.
    assert names[1] in unknown
    said = f"warning: {', '.join(unknown)}: no font here has the letters, so boxes show class numbers; install one of"
    assert said in done.stderr
    record = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert record["labels"][:2] == list(names)


def test_r12_somebody_elses_detector_looks_at_windows_and_videos_too(
    cases: Path, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("cv2", reason="no OpenCV: micro-yolo[video]")
    from micro_yolo.pipeline.watch.video import writing
    from micro_yolo.tflite.image import load_image

    photo = cases / "R09" / "photos" / "1.jpg"
    with writing(tmp_path / "clip.mp4", 10.0) as writer:
        for _ in range(3):
            writer.write(load_image(photo))
    model = cases / "R12" / "model" / "ssd.tflite"
    done = command("pipeline.predict", "--model", model, photo, "clip.mp4", "--tiles", "--tile-side", 64, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "objects in 3 frames: out/clip.mp4" in done.stdout and "objects in 1 pictures" in done.stdout
