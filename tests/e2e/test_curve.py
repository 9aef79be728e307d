"""Trainings on ever more images, their files measured, drawn and shown in the report."""

import json

import pytest

from micro_yolo.pipeline import curve, report, train
from micro_yolo.pipeline.data import synthetic
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store import runs
from tests.e2e.tiny_table import TABLE

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("curve")
    data = synthetic.make(place / "set", train=8, val=4, size=(64, 64), seed=0)
    (place / "tiny.json").write_text(json.dumps(TABLE))
    run = place / "run"
    train.run(train.Config(data=data, arch=str(place / "tiny.json"), run=run, batch=4, recipe=Recipe(epochs=2)))
    return run, curve.run(curve.Config(run=run, images=(2, 8)))


def test_each_point_is_a_file_of_so_many_images(made):
    run, found = made
    assert [point["images"] for point in found.points] == [2, 8]
    few = runs.read_json(run / "curve" / "2" / "train" / runs.CONFIG)
    assert few["images"]["train"] == 2
    # As many pictures as the whole training showed.
    assert (few["settings"]["recipe"]["epochs"], few["settings"]["batch"]) == (8, 2)
    (path,) = (run / "curve" / "2").rglob("metrics_int8.json")
    measured = runs.read_json(path)
    assert (found.points[0]["AP"], found.points[0]["AP50"]) == (measured["AP"], measured["AP50"])
    assert all(path.stat().st_size > 0 for path in found.written)


def test_what_is_finished_is_not_trained_again(made, monkeypatch):
    run, before = made

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "run", refuse)
    assert curve.run(curve.Config(run=run, images=(8, 2, 2))).points == before.points


def test_the_report_shows_it(made):
    run, found = made
    page = report.run(report.Config(run=run)).page.read_text()
    assert curve.verdict(found.points) in page and "by the number of training images" in page


def test_counts_there_are_not_are_refused(made):
    with pytest.raises(ValueError, match="images: must be 1 to the 8 training images, got 9"):
        curve.run(curve.Config(run=made[0], images=(9,)))


@pytest.mark.parametrize(
    ("total", "counts"), [(8, [8]), (29, [29]), (30, [20, 30]), (292, [20, 40, 80, 160, 292]), (236, [20, 40, 80, 236])]
)
def test_each_is_twice_the_one_before(total, counts):
    assert curve.sizes(total) == counts


@pytest.mark.parametrize(
    ("last", "words"), [(60.0, "more images would help"), (50.5, "more images of the same kind would help little")]
)
def test_the_end_of_the_curve_decides(last, words):
    points = [{"images": 80, "AP": 50.0}, {"images": 160, "AP": last}]
    assert words in curve.verdict(points)
