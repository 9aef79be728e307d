import numpy as np
import pytest
from data_folders import annotation, coco_record, write_coco, write_image
from PIL import Image

from micro_yolo.pipeline.data import __main__ as command_module
from micro_yolo.pipeline.data import load
from micro_yolo.pipeline.data.check import check_images
from micro_yolo.pipeline.show import draw
from micro_yolo.pipeline.show.draw import colour, draw_boxes, unwritable

REPORT = command_module.Config


def bad_set(root):
    record = coco_record(6)
    record["annotations"] += [annotation(90, 1, [1, 1, 0, 5]), annotation(91, 555)]
    write_coco(root, record, coco_record(2, 50, "val"))
    images = root / "images"
    (images / "im2.jpg").write_bytes((images / "im1.jpg").read_bytes()[:-400])
    (images / "im3.jpg").write_bytes(b"text, not an image")
    write_image(images / "im4.jpg", (20, 20))
    (images / "im5.jpg").unlink()
    return root


def test_check_images_decodes_all(tmp_path):
    found = {p.file: p.what for p in check_images(load(bad_set(tmp_path)))}
    assert found.keys() == {"images/im2.jpg", "images/im3.jpg", "images/im4.jpg"}
    assert "truncated" in found["images/im2.jpg"] and "not an image" in found["images/im3.jpg"]
    assert found["images/im4.jpg"] == "is 20 x 20 (height x width), its annotation says 48 x 64"


def test_report_names_everything_and_draws_a_sheet(tmp_path, capsys):
    command_module.command(REPORT(path=bad_set(tmp_path / "set"), out=tmp_path / "out"))
    sheet = tmp_path / "out" / "contact_sheet.png"
    printed = capsys.readouterr().out
    for text in ("coco, classes: 2", "cat", "dog", "Problems: 6 in 6 files", "images/im5.jpg", "instances_train.json"):
        assert text in printed
    with Image.open(sheet) as image:
        assert image.width > 700 and image.getcolors(1000) is None
    before = sheet.read_bytes()
    write_image(sheet, (20, 20))
    with pytest.raises(ValueError, match="is there already; choose another --out or add --overwrite"):
        command_module.command(REPORT(path=tmp_path / "set", out=tmp_path / "out"))
    capsys.readouterr()
    checked = command_module.run(REPORT(path=tmp_path / "set", out=tmp_path / "out", overwrite=True))
    assert capsys.readouterr().out == ""
    assert (checked.sheet, sum(problem.count for problem in checked.dataset.problems)) == (sheet, 6)
    assert sheet.read_bytes() == before


def test_report_on_a_set_with_nothing_left_names_the_problems(tmp_path, capsys):
    write_coco(tmp_path / "set", coco_record(3), coco_record(1, 9, "val"), draw=False)
    with pytest.raises(ValueError, match="split 'train' needs usable images"):
        command_module.command(REPORT(path=tmp_path / "set", out=tmp_path / "out"))
    assert "im3.jpg" in capsys.readouterr().out and not (tmp_path / "out").exists()


def test_command_line(tmp_path, command):
    done = command("pipeline.data", tmp_path / "none", cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "no such folder" in done.stderr
    write_coco(tmp_path / "set [b]", coco_record(3), coco_record(1, 9, "val"))
    done = command("pipeline.data", tmp_path / "set [b]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "set [b]: coco" in done.stdout and "No problems found." in done.stdout
    assert (tmp_path / "data_report" / "contact_sheet.png").is_file()


def test_draw_boxes_marks_the_frame_and_leaves_the_original(tmp_path):
    image = np.full((100, 200, 3), 80, np.uint8)
    drawn = draw_boxes(image, np.array([[40.0, 30, 120, 90]]), np.array([3]), ["a"] * 4, np.array([0.5]))
    pixels = np.asarray(drawn)
    assert pixels.shape == image.shape and (image == 80).all()
    assert tuple(pixels[60, 40]) == colour(3) and tuple(pixels[90, 80]) == colour(3)
    assert (pixels[60, 60] == 80).all() and (pixels[5] == 80).all()


def test_labels_make_room_for_each_other_and_can_be_read():
    boxes = np.array([[40.0, 60, 120, 90], [42, 61, 122, 92], [44, 60, 118, 91]])
    plates = [draw._Plate("bolt 50", left, top, (0, 0, 0), draw._own_font(11)) for left, top, _, _ in boxes.tolist()]
    taken = []
    for plate in plates:
        taken.append(draw._room(plate, (200, 100), taken))
    (_, top, _, bottom), second, third = taken
    assert bottom == 60 and second[1] > bottom and third[1] > second[3]
    # Where the picture ends there is no room: they lie on each other, where they belong.
    assert draw._room(plates[2], (200, int(third[3]) - 1), taken[:2])[1] == top
    for number in range(200):
        shares = [value / 255 for value in colour(number)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        luminance = float(np.dot((0.2126, 0.7152, 0.0722), linear))
        is_black = draw.ink_on(colour(number)) == "black"
        assert ((luminance + 0.05) / 0.05 if is_black else 1.05 / (luminance + 0.05)) >= 4.5


def test_draw_boxes_survives_anything(tmp_path):
    names = ["猫 ü", "a/b " * 50, ""]
    boxes = np.array([[-1e9, -1e9, 1e9, 1e9], [5, 5, 5, 5], [9, 9, 2, 2], [0, 0, 1, 1]], np.float32)
    for size in ((1, 1), (1, 500), (300, 2)):
        drawn = draw_boxes(Image.new("L", size), boxes, np.array([0, 1, 2, 9]), names, np.array([0.1, 0.9, 0.5, 1]))
        assert drawn.size == size and drawn.mode == "RGB"
    assert draw_boxes(Image.new("RGB", (9, 9)), np.zeros((0, 4)), np.zeros(0), names).size == (9, 9)


def test_a_name_that_no_font_here_can_write_is_shown_as_its_number(monkeypatch):
    """Whatever fonts this system has: U+0378 is no character, and the letters of Latin are in one that comes along."""
    names = ["bolt", "\u0378ab"]
    assert unwritable(names) == ["\u0378ab"]
    image, box = Image.new("RGB", (200, 100)), np.array([[40.0, 30, 120, 90]])

    def label(classes, given, **more):
        return draw_boxes(image, box, np.array(classes), given, np.array([0.5]), **more).tobytes()

    assert label([1], names) == label([1], ["bolt", "1"])
    assert label([1], (), texts=["\u0378ab 50"]) == label([1], ["bolt", "1"])
    assert label([0], names) != label([0], ["0", "1"])
    assert label([0], names, leads=["#3 "]) == label([0], ["#3 bolt"])
    # Marks and joiners draw nothing of their own: no font has a picture of them.
    assert unwritable(["bo\u200dlt"]) == [] or unwritable(["b\u00f6lt"]) != []


def test_the_first_font_that_has_all_letters_is_taken(monkeypatch):
    class Font:
        def __init__(self, letters):
            self.letters = letters

        def getmask(self, text):
            return (text if text in self.letters else "?").encode()

    fonts = {"arial.ttf": Font("#0123456789\u00fc"), "msyh.ttc": Font("#0123456789\u00fc\u732b")}
    monkeypatch.setattr(draw, "_opened", lambda name, size: fonts.get(name))
    draw._font_with.cache_clear()
    assert draw._font(20, "\u00fc 1") is fonts["arial.ttf"]
    assert draw._font(20, "\u732b") is fonts["msyh.ttc"]
    assert draw._font(20, "\u732b\u0301 \U0001f600") is None
    assert unwritable(["a", "\u732b", "\U0001f600"]) == ["\U0001f600"]
    draw._font_with.cache_clear()


def test_colours_are_apart():
    shades = np.array([colour(i) for i in range(12)], int)
    apart = np.abs(shades[:, None] - shades).sum(-1) + 1000 * np.eye(12, dtype=int)
    assert apart.min() > 60 and colour(5) == colour(5)
