"""Options of the four stages that train: the names that command lines have and config.json files hold."""

from __future__ import annotations

from dataclasses import fields

import pytest

from micro_yolo.pipeline import prune, qat, search, train
from micro_yolo.pipeline.learn.options import Options, parse_size

SHARED = {
    "run", "data", "batch", "recipe", "augment", "balance", "cache_gib", "cache", "xla", "seed", "resume", "overwrite",
}  # fmt: skip
TRAIN = {
    "arch", "size", "anchors", "resize", "precision", "init", "freeze", "start_rate", "val_fraction", "train_images",
}  # fmt: skip


@pytest.mark.parametrize(
    ("config", "own"),
    [
        (train.Config, TRAIN),
        (search.Config, TRAIN | {"rows", "kernels", "storage"}),
        (
            prune.Config,
            {
                "rows", "step", "most", "tolerance", "by", "pattern", "target_params", "target_macs", "distill",
                "final_epochs", "eval_images",
            },
        ),
        (
            qat.Config,
            {"from_stage", "bits", "train", "init", "distill", "rank_by", "freeze", "freeze_epochs", "samples"},
        ),
    ],
)  # fmt: skip
def test_a_recorded_run_can_be_continued(config: type[Options], own: set[str]) -> None:
    assert {field.name for field in fields(config)} == SHARED | own


@pytest.mark.parametrize("config", [train.Config, search.Config, prune.Config, qat.Config])
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, r"^batch: must be at least 1, got 0$"),
        ({"seed": -1}, r"^seed: must not be negative, got -1$"),
        ({"balance": -0.1}, r"^balance: must be from 0 to 1, got -0.1$"),
        ({"balance": 1.1}, r"^balance: must be from 0 to 1, got 1.1$"),
        ({"cache_gib": -1.0}, r"^cache_gib: must not be negative, got -1.0; allowed: such as 2, or 0 for none$"),
        ({"cache_gib": float("nan")}, r"^cache_gib: must not be negative, got nan; "),
    ],
)
def test_the_same_is_refused_by_all(config: type[Options], changes: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes).check()  # type: ignore[arg-type]
    config().check()


def test_a_batch_needs_its_images() -> None:
    Options(batch=8).check_batch(8)
    with pytest.raises(
        ValueError, match=r"^batch: must not exceed the 7 training images, got 8; use a smaller --batch$"
    ):
        Options(batch=8).check_batch(7)


@pytest.mark.parametrize(("text", "size"), [("320", (320, 320)), ("256x320", (256, 320)), ("96X64", (96, 64))])
def test_a_size_is_height_by_width(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "x", "0", "320x", "3x3x3", "-1", "²", "320 px", "1.5"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^size: must be pixels like 320 or 256x320 \(height x width\), got "):
        parse_size(text)
