"""The data doctor: what is planted in a data set is found, and nothing in one that is as it should be."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from micro_yolo.pipeline.data import Dataset, Split, load
from micro_yolo.pipeline.doctor import alike, boxes, classes, sizes
from micro_yolo.pipeline.doctor.findings import Finding, Spot, many, of
from micro_yolo.pipeline.doctor.visit import examine, lines
from micro_yolo.pipeline.show.screen import QUIET


def split(name: str, box_lists: list[list[tuple]], files: list[Path] | None = None, side: int = 100) -> Split:
    """Pictures with boxes (class, left, top, right, bottom)."""
    every = [box for each in box_lists for box in each]
    corners = np.array([box[1:] for box in every], np.float32).reshape(-1, 4)
    return Split(
        name=name,
        files=files or [Path(f"{name}{index}.jpg") for index in range(len(box_lists))],
        image_ids=np.arange(len(box_lists)),
        sizes=np.full((len(box_lists), 2), side, np.int32),
        boxes_xyxy=corners,
        classes=np.array([box[0] for box in every], np.int32),
        crowd=np.zeros(len(every), bool),
        areas=(corners[:, 2:] - corners[:, :2]).prod(axis=1),
        starts=np.concatenate([[0], np.cumsum([len(each) for each in box_lists])]).astype(np.int64),
    )


def dataset(*splits: Split, names: tuple[str, ...] = ("bolt", "nut")) -> Dataset:
    return Dataset(Path("set"), "yolo", names, tuple(range(len(names))), {each.name: each for each in splits})


def scene(seed: int) -> Image.Image:
    """Smooth, as photographs are."""
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    return Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[[str, list[Image.Image]], list[Path]]:
    def save(name: str, images: list[Image.Image], **more: object) -> list[Path]:
        files = [tmp_path / f"{name}{index}.{more.get('suffix', 'png')}" for index in range(len(images))]
        for file, image in zip(files, images, strict=True):
            image.save(file)
        return files

    return save


def found_in(*splits: Split) -> tuple[list[Finding], list[Finding]]:
    whole = dataset(*splits)
    prints = {name: alike.fingerprints(each) for name, each in whole.splits.items()}
    return alike.between_splits(whole, prints), alike.within_train(whole, prints)


def plain(name: str, files: list[Path]) -> Split:
    return split(name, [[(0, 10, 10, 60, 60)]] * len(files), files, side=120)


def test_pictures_saved_anew_in_val_are_found_in_train(pictures: Callable[..., list[Path]]) -> None:
    own = [scene(seed) for seed in range(8)]
    train = pictures("train", own)
    again = [own[2], own[5].resize((80, 60)), own[6].point(lambda level: min(level + 6, 255)), scene(100)]
    val = pictures("val", again, suffix="jpg")
    (finding,), within = found_in(plain("train", train), plain("val", val))
    assert within == []
    assert finding.says.startswith("3 of the 4 pictures of val (75 %) also lie in train, ")
    assert {(group[0].index, group[1].index) for group in finding.spots} == {(0, 2), (1, 5), (2, 6)}
    assert [spot.split for spot in finding.spots[0]] == ["val", "train"]


def test_other_pictures_are_not_taken_for_the_same(pictures: Callable[..., list[Path]]) -> None:
    files = pictures("all", [scene(seed) for seed in range(40)])
    grey = pictures("grey", [Image.new("RGB", (160, 120), (level,) * 3) for level in (0, 60, 120)])
    assert found_in(plain("train", files[:30]), plain("val", [*files[30:], *grey])) == ([], [])


def test_alike_pictures_of_train_with_other_boxes_come_first(pictures: Callable[..., list[Path]]) -> None:
    files = pictures("train", [scene(0), scene(1), scene(0), scene(1), scene(2)])
    box = (0, 10, 10, 60, 60)
    labelled = split("train", [[box], [box], [box], [box, (1, 5, 5, 9, 9)], [box]], files, side=120)
    _, (finding,) = found_in(labelled, plain("val", pictures("val", [scene(9)])))
    assert finding.says.startswith(
        "2 of the 5 pictures are nearly the same as another one of train, in 2 groups; in 1 "
    )
    assert [[spot.index for spot in group] for group in finding.spots] == [[1, 3], [0, 2]]
    assert [spot.note for spot in finding.spots[0]] == ["1 box", "2 boxes"]


def test_many_pictures_are_compared_by_equal_fingerprints(
    pictures: Callable[..., list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alike, "_MOST_PAIRED", 2)
    files = pictures("train", [scene(0), scene(1), scene(0)])
    _, (finding,) = found_in(plain("train", files), plain("val", pictures("val", [scene(9)])))
    assert [[spot.index for spot in group] for group in finding.spots] == [[0, 2]]


def test_pictures_that_cannot_be_decoded_are_counted_and_like_no_other(
    pictures: Callable[..., list[Path]], tmp_path: Path
) -> None:
    files = pictures("train", [scene(0), scene(1)])
    broken = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    for file in broken:
        file.write_bytes(b"no picture")
    checkup = examine(dataset(plain("train", [*files, *broken]), plain("val", pictures("val", [scene(9)]))), QUIET)
    assert checkup.unread == 2
    assert not [finding for finding in checkup.findings if "alike" in finding.kind]


def test_doubled_boxes_and_objects_of_two_classes() -> None:
    box = (0, 10, 10, 60, 60)
    train = split("train", [[box, (0, 10, 10, 60, 61)], [box, (0, 30, 10, 80, 60)], []])
    val = split("val", [[box, (1, 10, 10, 60, 60)]])
    (finding,) = boxes.doubtful(dataset(train, val))
    assert finding.says.startswith("1 object with two boxes and 1 object with two classes")
    assert finding.spots == ((Spot("val", 0, (0, 1), "bolt and nut"),), (Spot("train", 0, (0, 1), "bolt twice"),))


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_pairs_are_found_whatever_the_number_of_boxes(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boxes, "_BLOCK", block)
    row = [(0, 10 * n, 10, 10 * n + 9, 19) for n in range(9)]
    train = split("train", [[*row, row[2], row[8]]])
    (finding,) = boxes.doubtful(dataset(train))
    assert {group[0].rows for group in finding.spots} == {(2, 9), (8, 10)}


def test_slivers() -> None:
    (finding,) = boxes.doubtful(dataset(split("train", [[(0, 10, 10, 11.5, 60), (0, 10, 10, 60, 60)]])))
    assert finding.says.startswith("1 box less than 2 pixels wide or high")
    assert finding.spots == ((Spot("train", 0, (0,), "1.5 pixels"),),)


def test_boxes_unlike_their_class() -> None:
    usual = [[(0, 20, 20, 40 + n % 5, 40 + n % 4)] for n in range(40)]
    large, long = [(0, 1.5, 1.5, 98, 98)], [(0, 2, 40, 97, 45)]
    cut = [(0, 0, 20, 3, 90)]
    (finding,) = boxes.doubtful(dataset(split("train", [*usual, large, cut]), split("val", [long])))
    notes = {(group[0].split, group[0].index): group[0].note for group in finding.spots}
    assert finding.says.startswith("2 boxes of a size or shape")
    assert re.fullmatch(r"bolt: 4\.\d times as large as its class is", notes["train", 40])
    assert re.fullmatch(r"bolt: 1\d\.\d times as wide for its height", notes["val", 0])
    # Of few boxes nobody can say what is usual.
    assert boxes.doubtful(dataset(split("train", [*usual[:10], large]))) == []


def test_classes_that_a_draw_by_lot_would_not_give() -> None:
    bolt, nut = (0, 10, 10, 60, 60), (1, 10, 10, 60, 60)
    train = split("train", [[bolt]] * 80 + [[nut]] * 5)
    (finding,) = classes.shares(dataset(train, split("val", [[bolt]] * 5 + [[nut, nut]] * 10)))
    assert finding.says.startswith("2 of the 2 classes are in more, or fewer, pictures of val")
    assert dict(zip(("bolt", "nut"), sorted(finding.table), strict=True))["nut"] == (
        "nut",
        "5 (5.9 %)",
        "10 (66.7 %)",
        "2",
    )
    assert classes.shares(dataset(train, split("val", [[bolt]] * 15 + [[nut]] * 2))) == []


def test_classes_too_rare_to_measure() -> None:
    bolt, nut = (0, 10, 10, 60, 60), (1, 10, 10, 60, 60)
    val = split("val", [[bolt]] * 30 + [[nut]] * 4)
    (finding,) = classes.rare(dataset(split("train", [[bolt], [nut]]), val, names=("bolt", "nut", "washer")))
    assert finding.says.startswith("2 of the 3 classes are too rare in val to measure")
    assert finding.table == (("washer", "0", "0", "not measured", "-"), ("nut", "1", "4", "25", "12.5"))
    assert finding.spots == ((Spot("val", 30, (30,), "4 in val"),),)
    assert classes.rare(dataset(split("train", [[bolt]]), split("val", [[bolt]] * 20), names=("bolt",))) == []


def test_the_size_at_which_objects_fill_a_cell() -> None:
    # 6 of 100 pixels are a cell of 16 at an input of 267.
    train = split("train", [[(0, 20, 20, 26, 26), (0, 50, 50, 90, 90)]], side=100)
    measured = sizes.measure(dataset(replaced(train, 600)))
    row = next(row for row in measured.rows if row.size == 256)
    assert (row.small, row.below_cell) == (0.0, 0.5)
    assert (measured.recommended, measured.enough, measured.longer_side) == (288, True, 600)
    assert sizes.advise(dataset(replaced(train, 600)), measured) == []


def test_where_pictures_have_too_few_pixels_it_is_said() -> None:
    train = split("train", [[(0, 20, 20, 22, 22), (0, 50, 50, 90, 90)]], side=200)
    whole = dataset(train)
    measured = sizes.measure(whole)
    assert (measured.recommended, measured.enough) == (192, False)
    (finding,) = sizes.advise(whole, measured)
    assert "At 192 x 192, as large as the pictures (longer side: 200), 50 % of the boxes of train are" in finding.says
    assert finding.spots == ((Spot("train", 0, (0,), "1 small"),),)


def test_boxes_of_one_cell_are_counted() -> None:
    together = [(0, 10, 10, 14, 14), (0, 11, 11, 15, 15), (0, 80, 80, 90, 90)]
    rows = sizes.measure(dataset(split("train", [together, [(0, 10, 10, 14, 14)]]))).rows
    assert rows[0].crowded == 0.5


def replaced(train: Split, side: int) -> Split:
    """The same, in pictures with more pixels."""
    factor = side / train.sizes[0, 0]
    corners = [tuple((box * factor).tolist()) for box in train.boxes_xyxy]
    return split("train", [[(0, *corner) for corner in corners]], side=side)


def test_counts_in_words() -> None:
    assert [many(1, "box"), many(2, "class"), many(1200, "picture")] == ["1 box", "2 classes", "1,200 pictures"]
    assert [of(1, 3, "class"), of(2, 3, "box")] == ["1 of the 3 classes is", "2 of the 3 boxes are"]


def test_the_built_in_set_is_as_it_should_be(tmp_path: Path) -> None:
    from micro_yolo.pipeline.data import synthetic

    checkup = examine(load(synthetic.make(tmp_path / "set", train=40, val=40, size=(160, 160), seed=0)), QUIET)
    assert [finding.kind for finding in checkup.findings if finding.kind not in ("rare in val", "small objects")] == []
    assert lines(checkup)[-1].startswith("input: --size ")


def test_a_page_that_needs_nothing_else(
    pictures: Callable[..., list[Path]], tmp_path: Path, command: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    pytest.importorskip("jinja2")
    root = tmp_path / "a <set>"
    for name, seeds in (("train", (0, 1, 2, 1)), ("val", (0, 7))):
        (root / "images" / name).mkdir(parents=True)
        (root / "labels" / name).mkdir(parents=True)
        for index, seed in enumerate(seeds):
            scene(seed).save(root / "images" / name / f"{index}.jpg")
            (root / "labels" / name / f"{index}.txt").write_text("0 0.5 0.5 0.3 0.3\n1 0.2 0.2 0.1 0.1\n")
    (root / "classes.txt").write_text("<b>bolt\nnut & co\n")
    page = tmp_path / "doctor.html"
    done = command("pipeline.data", root, "--page", page, "--out", tmp_path / "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "val in train: 1 of the 2 pictures of val (50 %) also lie in train" in done.stdout
    assert "alike in train: 1 of the 4 pictures is nearly the same" in done.stdout
    html = page.read_text()
    assert html.count("data:image/jpeg;base64,") == 2 + 2 + 2
    assert "&lt;b&gt;bolt" in html and "<b>bolt" not in html
    assert not re.search(r'(?:src|href)="(?!data:|#)', html)
    # Whoever mended labels looks again; what is not of this command stays.
    done = command("pipeline.data", root, "--page", page, "--out", tmp_path / "report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page.write_text("<html>mine</html>")
    done = command("pipeline.data", root, "--page", page, "--out", tmp_path / "report", cwd=tmp_path)
    assert done.returncode == 2 and "doctor.html: is there already; choose another --page or add" in done.stderr


def prints(bits: list[list[int]], levels: list[int]) -> alike.Prints:
    """Fingerprints with these bits of 256 set, each of a picture of one level."""
    flags = np.zeros((len(bits), 256), bool)
    for row, which in enumerate(bits):
        flags[row, which] = True
    grey = np.repeat(np.array(levels, np.uint8)[:, None], 272, 1)
    return alike.Prints(np.packbits(flags, axis=1).view(np.uint64), grey, np.ones(len(bits), bool))


def test_pictures_are_alike_by_way_of_one_another() -> None:
    near, far = [*range(20)], [*range(40)]
    found = alike.grouped(prints([[], near, far, [*range(200, 256)], far], [0, 0, 0, 0, 0]))
    assert found == [[0, 1, 2, 4]]
    # Of the same steps, but not of the same light.
    assert alike.grouped(prints([[], [], []], [0, 200, 10])) == [[0, 2]]


def test_the_nearest_twin_is_named() -> None:
    mine, theirs = prints([[], [*range(100)]], [50, 0]), prints([[1, 2], [1], [], [3]], [50, 50, 200, 50])
    assert alike.twins(mine, theirs) == {0: (1, 1)}


@pytest.mark.parametrize("most", [20_000, 10], ids=["all pairs", "equal hashes"])
def test_a_film_is_not_compared_frame_by_frame(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    are_alike = alike._are_alike
    monkeypatch.setattr(alike, "_MOST_PAIRED", most)
    monkeypatch.setattr(alike, "_are_alike", lambda *args: compared.append(len(args[3])) or are_alike(*args))
    frames = 400
    film = prints([[frame % 7] if most > frames else [] for frame in range(frames)], [9] * frames)
    assert alike.grouped(film) == [[*range(frames)]]
    assert len(alike.twins(film, film)) == frames
    assert sum(compared) < 20 * frames
