"""The order of cuts, what is left of each row, and the record on disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from micro_yolo.pipeline.learn.cuts import STEPS, Cuts, Measured, Step, goal, one_box_points

WHOLE = Measured(1000, 5000, 40.0, 70.0)


def step(cuts: Cuts, unit: str, after: int, *, accepted: bool = True, keep: tuple[int, ...] | None = None) -> Step:
    before = next((s.after for s in reversed(cuts.steps) if s.unit == unit and s.accepted), cuts.widths[unit])
    made = Step(
        number=len(cuts.steps) + 1,
        unit=unit,
        before=before,
        after=after,
        keep=keep or tuple(range(after)),
        network=Measured(900, 4500, 39.0, 69.8),
        AP_before=40.0,
        AP50_before=70.0,
        accepted=accepted,
        reason="" if accepted else "1.0 points below unpruned",
    )
    cuts.steps.append(made)
    return made


def test_a_unit_is_cut_until_it_is_refused() -> None:
    cuts = Cuts(WHOLE, {"a": 32, "b": 64})
    seen = []
    for accepted in (True, True, False, True, False):
        unit, after = cuts.next_cut(("a", "b"), 1 / 16, 0.5) or ("", 0)
        seen.append((unit, after))
        step(cuts, unit, after, accepted=accepted)
    assert seen == [("a", 30), ("a", 28), ("a", 26), ("b", 60), ("b", 56)]
    assert cuts.next_cut(("a", "b"), 1 / 16, 0.5) is None


def test_steps_are_sixteenths_of_the_original_width_and_end_at_the_most() -> None:
    cuts = Cuts(WHOLE, {"a": 70})
    widths = []
    while (found := cuts.next_cut(("a",), 1 / 16, 6 / 16)) is not None:
        widths.append(found[1])
        step(cuts, *found)
    assert widths == [70 - round(70 * n / 16) for n in range(1, 7)]


def test_a_narrow_unit_loses_a_channel_a_step_and_keeps_one() -> None:
    cuts = Cuts(WHOLE, {"a": 4})
    widths = []
    while (found := cuts.next_cut(("a",), 1 / 16, 0.99)) is not None:
        widths.append(found[1])
        step(cuts, *found)
    assert widths == [3, 2, 1]


def test_kept_are_channels_of_the_original() -> None:
    cuts = Cuts(WHOLE, {"a": 6, "b": 4})
    step(cuts, "a", 4, keep=(0, 2, 3, 5))
    step(cuts, "a", 3, keep=(0, 1, 2), accepted=False)
    step(cuts, "a", 2, keep=(1, 3))
    assert cuts.kept() == {"a": [2, 5]}


def test_the_record_comes_back(tmp_path: Path) -> None:
    assert Cuts.load(tmp_path) is None
    cuts = Cuts(WHOLE, {"a": 6})
    step(cuts, "a", 4)
    step(cuts, "a", 3, accepted=False)
    cuts.save(tmp_path)
    assert Cuts.load(tmp_path) == cuts
    assert cuts.network == cuts.steps[0].network


@pytest.mark.parametrize("value", [{}, {"unpruned": {}, "widths": {}, "steps": []}, []])
def test_another_record_is_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / STEPS).write_text(json.dumps(value))
    with pytest.raises(ValueError, match=r"steps\.json: must be the steps of a pruning"):
        Cuts.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": "b"}, "must each cut what is left"),
        ({"before": 7}, "must each cut what is left"),
        ({"after": 5}, "must each cut what is left"),
        ({"keep": [0, 1, 2, 6]}, "must keep channels that there were"),
        ({"keep": [0, 1, 2, -1]}, "must keep channels that there were"),
        ({"keep": "0123"}, "keep: must be a list"),
        ({"network": {"params": "9", "macs": 1, "AP": 1, "AP50": 1}}, "params: must be a whole number"),
        ({"network": {"params": 10**400, "macs": 1, "AP": 1, "AP50": 1}}, "must have a size from 0 to"),
        ({"AP50_before": None}, "AP50_before: must be a number"),
        ({"accepted": "yes"}, "accepted: must be true or false"),
    ],
)
def test_steps_of_somebody_that_cannot_be_are_refused(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    cuts = Cuts(WHOLE, {"a": 6})
    step(cuts, "a", 4)
    cuts.save(tmp_path)
    value = json.loads((tmp_path / STEPS).read_text())
    value["steps"][0] |= changes
    (tmp_path / STEPS).write_text(json.dumps(value))
    with pytest.raises(ValueError, match=message) as refused:
        Cuts.load(tmp_path)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_goals_are_counts_or_shares() -> None:
    assert goal(None, 1000, "target_params") == float("inf")
    assert goal(0.75, 1000, "target_params") == 750
    assert goal(640, 1000, "target_params") == 640
    for wrong in (0, -5, 1, 1000, 2000):
        with pytest.raises(ValueError, match=r"^target_params: must be above 0 and less than the unpruned 1,000, got"):
            goal(wrong, 1000, "target_params")


def test_what_one_box_is_worth() -> None:
    assert one_box_points({"many": 200, "few": 10, "none": 0}) == ("few", 5.0)
