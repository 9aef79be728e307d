"""The report: its figures are the run's, it needs nothing else, and it says what is missing."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from html_page import Page

from micro_yolo.pipeline import debug, edge, evaluate, report, stages
from micro_yolo.pipeline.learn.cuts import Cuts, Measured, Step
from micro_yolo.pipeline.page import charts, findings
from micro_yolo.pipeline.page.charts import Series
from micro_yolo.pipeline.store import history, runs


def made(run: Path, **options: Any) -> Page:
    return Page(report.run(report.Config(run=run, **options)).page.read_text())


@pytest.fixture(scope="module")
def whole(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with everything in it; its history and its cuts are made up, its measurements are not."""
    run = Path(shutil.copytree(exported, tmp_path_factory.mktemp("whole") / "tiny <&> run"))
    for name in ("float16_raw", "dynamic_raw", "int16x8_raw"):
        (run / "export" / f"model_{name}.tflite").unlink()
    stages.run(stages.Config(run=run, runs=1))
    debug.run(debug.Config(run=run, images=2, keep=(1,)))
    lines = [f"{epoch},{3 / epoch},{2 / epoch},{1 / epoch},{30 + epoch},{50 + epoch}" for epoch in (1, 2, 3)]
    (run / "train" / runs.HISTORY).write_text("\n".join(["epoch,box,objectness,classes,AP,AP50", *lines]))
    runs.write_json(run / "train" / runs.METRICS, {"epoch": 3, "AP": 33.0, "AP50": 53.0})
    int8 = run / "export" / "model_int8.tflite"
    edge.run(edge.Config(models=(int8,), target="ethos-u55-256,edgetpu", json=run / "edge.json"))
    (run / "prune").mkdir()
    cuts = Cuts(Measured(2000, 4_000_000, 30.0, 50.0), {"l6": 16, "l7": 16})
    cuts.steps = [
        Step(1, "l6", 16, 8, tuple(range(8)), Measured(1500, 3_000_000, 31.0, 51.25), 30.0, 50.0, True),
        Step(2, "l7", 16, 8, tuple(range(8)), Measured(1200, 2_000_000, 20.0, 40.0), 31.0, 51.25, False, "lost 11.3"),
    ]
    cuts.save(run / "prune")
    return run


@pytest.fixture(scope="module")
def page(whole: Path) -> Page:
    return made(whole, samples=3)


def test_the_stages_are_those_that_were_measured(page: Page, whole: Path) -> None:
    entries = runs.read_json(whole / runs.COMPARED)["stages"]
    assert len(entries) == 2
    for entry in entries:
        row = next(row for row in page.rows["stages"] if row[:2] == [entry["stage"], entry["variant"]])
        assert row[2:] == [
            f"{entry['AP50']:.1f}",
            f"{entry['AP']:.1f}",
            f"{entry['n_bytes'] / 1024:,.0f}",
            f"{entry['median_ms']:.2f}",
            f"{entry['ratio']:.2f}\N{MULTIPLICATION SIGN}",
            f"{entry['params']:,}",
            f"{entry['macs'] / 1e6:,.1f}",
        ]
    assert "Out of date" not in "".join(page.texts.values())


def test_curves_have_the_measured_ap50_as_their_mean(page: Page, whole: Path) -> None:
    metrics = {name: runs.read_json(whole / f"metrics_{name}.json")["per_class"] for name in ("float32", "int8")}
    for name, row in ((row[0], row) for row in page.rows["curves"][1:]):
        for column, variant in enumerate(("float32", "int8"), start=2):
            own = metrics[variant][name]
            assert row[column] == f"{own['AP50']:.1f} / {own['AP']:.1f}"
    charted = re.findall(r"Precision over recall of (\w+) at IoU 0.5: .*?AP50 ([\d.]+); .*?AP50 ([\d.]+)", labels(page))
    assert charted
    for name, *shown in charted:
        assert shown == [f"{metrics[variant][name]['AP50']:.1f}" for variant in ("float32", "int8")]


def labels(page: Page) -> str:
    return "\n".join(str(attrs["aria-label"]) for attrs in page.all("svg"))


def test_thresholds_and_mistakes_are_those_that_were_measured(page: Page, whole: Path) -> None:
    metrics = {name: runs.read_json(whole / f"metrics_{name}.json") for name in ("float32", "int8")}
    matrices = {name: runs.read_json(whole / f"confusion_{name}.json") for name in ("float32", "int8")}
    rows = {row[0]: row[1:] for row in page.rows["scores"]}
    cuts = [metrics[name]["thresholds"]["all"] for name in ("float32", "int8")]
    shown = [f"{cut['threshold']:.2f}" for cut in cuts]
    assert rows["all classes"][::4] == shown
    assert rows["all classes"][1] == f"{100 * cuts[0]['f1']:.1f}"
    grids = [row[1:] for row in page.rows["scores"] if len(row) == 7]
    # A head, and a row for each of five classes and the background; the int8 file's first.
    assert len(grids) == 14
    for grid, name in ((grids[:7], "int8"), (grids[7:], "float32")):
        assert grid[0] == matrices[name]["labels"]
        assert grid[1:] == [[str(count) if count else "" for count in row] for row in matrices[name]["matrix"]]


def test_why_it_misses_is_what_was_measured(page: Page, whole: Path) -> None:
    metrics = {name: runs.read_json(whole / f"metrics_{name}.json") for name in ("float32", "int8")}
    rows = {row[0].partition(":")[0]: row[1:] for row in page.rows["misses"]}
    for kind in metrics["int8"]["misses"]["kinds"]:
        own = [metrics[name]["misses"]["kinds"][kind] for name in ("float32", "int8")]
        assert rows[kind][::3] == [f"{each['points']:.1f}" for each in own]
        assert rows[kind][2::3] == [f"{each['count']:,}" for each in own]
    named = {(row[0], row[1]): row[2:] for row in page.rows["misses"] if len(row) == 7}
    for ours, theirs in zip(metrics["float32"]["groups"], metrics["int8"]["groups"], strict=True):
        row = named[ours["by"], ours["name"]]
        assert row[0] == f"{ours['boxes']:,}" and row[1::2] == [f"{each['found']:.0%}" for each in (ours, theirs)]
    doubts = " ".join(page.texts["labels"].split())
    for kind, count in metrics["float32"]["suspects"].items():
        assert f"{kind}: {count}" in doubts


def test_the_worst_and_the_doubtful_are_shown(whole: Path) -> None:
    size = 2
    page = made(whole, samples=0, worst=size, suspects=8)
    worst = [str(attrs["alt"]) for attrs in page.within("misses", "img")]
    assert len(worst) == 3 * size
    counts = [re.findall(r"(\d+) right, (\d+) missed, (\d+) false", text) for text in worst if "int8" in text]
    mistakes = [int(missed) + int(false) for ((_, missed, false),) in counts]
    assert mistakes == sorted(mistakes, reverse=True)
    metrics = runs.read_json(whole / "metrics_float32.json")
    assert len(page.within("labels", "img")) == min(8, sum(metrics["suspects"].values()))
    none = made(whole, samples=0, worst=0, suspects=0)
    assert not any(none.within(section, "img") for section in ("misses", "labels", "samples"))


def test_a_threshold_that_moves_is_told(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    found = json.loads((run / "coco_int8.json").read_text())
    for record in found:
        record["score"] = record["score"] ** 0.3
    (run / "coco_int8.json").write_text(json.dumps(found))
    page = made(run)
    assert "moves by more than 0.05 from float32 to int8: all classes from" in " ".join(page.texts["scores"].split())
    report.command(report.Config(run=run))
    assert "moves by more than 0.05 from float32 to int8" in " ".join(capsys.readouterr().err.split())


def test_layers_cuts_and_data_are_those_of_the_run(page: Page, whole: Path, tiny_data: Path) -> None:
    found = runs.read_json(whole / runs.DEBUG / runs.DEBUGGED)
    layers = {layer["name"]: layer for layer in found["layers"]}
    shown = [row for row in page.rows["int8"] if row[0] in layers]
    assert [row[0] for row in shown] == found["worst"]
    assert shown[0][1] == f"{layers[shown[0][0]]['own_snr_db']:.1f}"
    assert shown[0][-1] == layers[shown[0][0]]["cause"]
    for row in found["measured"]:
        expected = [row["name"], f"{row['AP50']:.1f}", f"{row['AP']:.1f}"]
        assert expected in [cells[:3] for cells in page.rows["int8"] if len(cells) == 4]
    assert page.rows["pruning"][1:] == [
        ["1", "l6", "16 → 8", "51.2", "31.0", "1,500", "3.0", "kept"],
        ["2", "l7", "16 → 8", "40.0", "20.0", "1,200", "2.0", "refused: lost 11.3"],
    ]
    assert "2,000 → 1,500 parameters" in page.texts["pruning"]
    assert ["images", "12", "4"] in page.rows["data"]
    assert "kept the weights of epoch 3 with AP50 53.0" in page.texts["training"]


def test_edge_targets_are_those_of_the_json(page: Page, whole: Path) -> None:
    ((_, found),) = runs.read_json(whole / "edge.json")["edge"].items()
    vela, coral = found["ethos-u55-256"], found["edgetpu"]["prediction"]
    rows = {row[0]: row[1:] for row in page.rows["edge"][1:]}
    memory = [f"{vela[f'{name}_bytes'] / 1024:,.0f}" for name in ("sram", "dram", "flash")]
    assert rows["ethos-u55-256"] == [
        f"{vela['operators'] - vela['on_cpu']} of {vela['operators']}",
        f"{vela['ms']:.2f}",
        f"{vela['fps']:.1f}",
        *memory,
        "export/model_int8.tflite",
        f"Vela estimates, {vela['system']}, {vela['memory_mode']}",
    ]
    least, most = coral["mapped"], coral["mapped_at_best"]
    said = f"{least} to {most}" if least != most else f"{least}"
    assert rows["edgetpu"][0] == f"{said} of {len(coral['verdicts'])}"
    assert rows["edgetpu"][-1].startswith("predicted from the published list: at least ")


def test_an_edge_json_of_something_else_is_named(own_run: Path) -> None:
    runs.write_json(own_run / "edge.json", {"edge": {"a.tflite": {"ethos-u55-256": {"ms": 1}}}})
    with pytest.raises(ValueError, match=r"edge\.json: must be what `python -m pipeline\.edge --json` writes"):
        findings.edge(own_run)


def test_provenance_holds_the_hashes_of_the_files_that_are_there(page: Page, whole: Path) -> None:
    text = page.texts["provenance"]
    for path in (whole / "train" / runs.WEIGHTS, *(whole / "export").rglob("*.tflite")):
        assert runs.sha256(path) in text
    assert "not the one of its contract" not in text


def test_the_doctor_is_asked_about_the_data(page: Page) -> None:
    text = " ".join(page.texts["data"].split())
    assert "What the doctor found" in text and "Rare in val" in text
    assert re.search(r"At 64 . 96, ", text) and "below a cell of 16 pixels" in text
    assert all(str(attrs["alt"]).startswith(("train, ", "val, ")) for attrs in page.within("data", "img"))


def test_samples_show_truth_float_and_int8(page: Page) -> None:
    pictures = page.within("samples", "img")
    assert len(pictures) == 3 * 3
    said = [str(attrs["alt"]) for attrs in pictures]
    assert [re.sub(r".*, (truth|float32|int8).*", r"\1", text, flags=re.S) for text in said[:3]] == [
        "truth",
        "float32",
        "int8",
    ]


def test_nothing_is_fetched_from_anywhere(page: Page, whole: Path) -> None:
    text = (whole / report.PAGE).read_text()
    assert "//" not in re.sub(r"base64,[\w+/=]+", "", text).replace("</", "")
    assert "@import" not in text and "url(" not in text and not page.all("script")
    for tag, attrs in page.elements:
        for name in ("src", "href"):
            if name in attrs:
                assert str(attrs[name]).startswith(("data:", "#")), (tag, attrs)


def test_it_can_be_read_without_seeing_it(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert all(attrs.get("alt") for attrs in page.all("img"))
    assert all(attrs.get("role") == "img" and attrs.get("aria-label") for attrs in page.all("svg"))
    assert page.all("html")[0]["lang"] == "en"
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for link in page.all("a"):
        assert str(link["href"]).removeprefix("#") in ids
    for section in page.all("section"):
        assert section["aria-labelledby"] in ids
    assert all(attrs.get("scope") for attrs in page.all("th"))
    assert any(attrs.get("name") == "viewport" for attrs in page.all("meta"))


def test_what_people_called_things_stays_text(page: Page, whole: Path) -> None:
    assert "<&>" in page.texts[""]
    assert "tiny &lt;&amp;&gt; run" in (whole / report.PAGE).read_text()


def test_a_run_that_was_only_trained_says_what_to_do_next(own_run: Path) -> None:
    page = made(own_run)
    text = {section: " ".join(words.split()) for section, words in page.texts.items()}
    assert f"python -m pipeline.stages --run {own_run}" in text["stages"]
    assert f"python -m pipeline.stages --run {own_run}" in text["curves"]
    assert f"python -m pipeline.stages --run {own_run}" in text["samples"]
    assert f"python -m pipeline.prune --run {own_run}" in text["pruning"]
    assert f"python -m pipeline.debug --run {own_run}" in text["int8"]
    assert f"python -m pipeline.convert --run {own_run} --int8 --head raw" in text["edge"]
    assert f"python -m pipeline.convert --run {own_run} --float32 --int8" in text["provenance"]
    assert not page.within("samples", "img")


def test_a_run_that_was_exported_shows_its_files(exported: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(exported, tmp_path / "run"))
    evaluate.run(evaluate.Config(model=run / "export" / "model_int8.tflite"))
    page = made(run, samples=1)
    metrics = runs.read_json(run / "metrics_int8.json")
    rows = {row[1]: row for row in page.rows["stages"][1:]}
    assert rows["int8"][3:] == [f"{metrics['AP']:.1f}", f"{metrics['AP50']:.1f}"]
    assert rows["float32"][3:] == ["-", "-"]
    command = f"python -m pipeline.edge {run / 'export' / 'model_int8_raw.tflite'} --json {run / 'edge.json'}"
    assert command in " ".join(page.texts["edge"].split())
    assert len(page.within("samples", "img")) == 2


def test_what_is_not_true_any_more_is_said(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    for name in ("model_int8.tflite", "model_int8_raw.tflite"):
        model = run / "export" / name
        model.write_bytes(model.read_bytes() + bytes(16))
    value = runs.read_json(run / "metrics_float32.json")
    first = next(name for name, row in value["per_class"].items() if row["boxes"])
    value["per_class"][first]["AP50"] = 12.3
    runs.write_json(run / "metrics_float32.json", value)
    for path in (run / "debug").glob("metrics_*.json"):
        path.unlink()
    page = made(run)
    assert "train int8: the file is gone or was measured anew since" in page.texts["stages"]
    assert "the int8 file it was made for has changed since" in page.texts["int8"]
    assert "not the one of its contract" in page.texts["provenance"]
    assert f"{first}: measured 12.3" in page.texts["curves"]


def test_without_its_images_the_rest_is_there(whole: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(whole, tmp_path / "run"))
    config = runs.read_json(run / "train" / runs.CONFIG)
    runs.write_json(run / "train" / runs.CONFIG, {**config, "data": str(tmp_path / "gone")})
    page = made(run)
    assert "the training data is no longer there" in page.texts["data"]
    assert "--data PATH" in page.texts["curves"] and "--data PATH" in page.texts["samples"]
    assert len(page.rows["stages"]) == 3
    with pytest.raises(FileNotFoundError, match="none"):
        report.run(report.Config(run=run, data=tmp_path / "none"))


def test_a_page_elsewhere_is_not_replaced_unasked(own_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.html"
    out.write_text("mine")
    with pytest.raises(ValueError, match="already exists; allowed: another --out, or --overwrite"):
        report.run(report.Config(run=own_run, out=out))
    for name in ("samples", "worst", "suspects"):
        with pytest.raises(ValueError, match=f"{name}: must be at least 0, got -1"):
            report.run(report.Config(run=own_run, **{name: -1}))
    assert out.read_text() == "mine"
    report.run(report.Config(run=own_run, out=out, overwrite=True))
    assert out.read_text().startswith("<!doctype html>")


def test_a_chart_is_where_its_values_are() -> None:
    series = [
        Series("a", (0, 5, 10), (0, None, 100), 0, "dots", ("first", "last")),
        Series("b", (5,), (50,), 1, "crosses"),
    ]
    svg = charts.lines(series, "two & three", x="x", y="y", x_limits=(0, 10), y_limits=(0, 100))
    points = re.findall(
        r'transform="translate\(([\d.]+) ([\d.]+)\)">(?:<title>(\w+)</title>)?', svg.replace(" />", ">")
    )
    (x1, y1, first), (x2, y2, last), (x3, y3, none) = [(float(a), float(b), title) for a, b, title in points]
    assert (first, last, none) == ("first", "last", "")
    assert x1 < x2 and y1 > y2
    assert x3 == pytest.approx((x1 + x2) / 2) and y3 == pytest.approx((y1 + y2) / 2)
    assert "var(--c0)" in svg and "var(--c1)" in svg and "#" not in svg
    assert 'aria-label="two &amp; three"' in svg
    with pytest.raises(ValueError, match="nothing to draw"):
        charts.lines([], "", x="", y="")


@pytest.mark.parametrize(
    "limits", [(0.0, 1.0), (484.0, 589.0), (84.7, 88.2), (0.0, 65.0), (-3.0, 1e6), (0.0001, 0.0002)]
)
def test_axes_have_some_round_numbers(limits: tuple[float, float]) -> None:
    svg = charts.lines([Series("a", limits, limits)], "", x="x", y="y", x_limits=limits, y_limits=limits)
    for anchor in ("middle", "end"):
        found = re.findall(rf"text-anchor: {anchor};[^>]*>([^<xy]+)</text>", svg)
        ticks = [float(text.replace("\N{MINUS SIGN}", "-")) for text in found]
        assert 3 <= len(ticks) <= 8
        assert all(limits[0] - 1e-9 <= tick <= limits[1] * (1 + 1e-9) for tick in ticks)
        # 1, 2 or 5 times a power of ten apart.
        step = f"{ticks[1] - ticks[0]:.3e}"
        assert step[0] in "125" and step[1:5] == ".000", ticks


def test_a_falling_axis_runs_from_large_to_small_and_a_logarithmic_one_by_powers() -> None:
    series = [Series("a", (1, 100), (1, 100), style="dots", labels=("first", "last"))]
    svg = charts.lines(series, "", x="x", y="y", log=True, falling=True)
    places = dict(re.findall(r'translate\(([\d.]+) [\d.]+\)"><title>(\w+)', svg))
    assert list(places.values()) == ["first", "last"]
    first, last = map(float, places)
    assert first > last
    ticks = re.findall(r"text-anchor: end;[^>]*>([\d.]+)</text>", svg)
    assert ticks == ["1", "2", "5", "10", "20", "50", "100"]


def test_half_read_files_are_named(own_run: Path, command: Callable[..., Any]) -> None:
    (own_run / "train" / runs.HISTORY).write_text("epoch,AP\n1,high\n")
    with pytest.raises(ValueError, match=r"history\.csv: must be numbers"):
        history.read(own_run / "train" / runs.HISTORY)
    done = command("pipeline.report", "--run", own_run)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "history.csv: must be numbers" in done.stderr and not (own_run / report.PAGE).exists()
