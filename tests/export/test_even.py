"""The same share of all rows cut at once: `pipeline.prune --pattern even`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from thinned import thinned

from micro_yolo.model.build import build, weights_of
from micro_yolo.model.channels import channels_of, cut, importance
from micro_yolo.model.count import count
from micro_yolo.model.keras import keras
from micro_yolo.model.spec import Arch
from micro_yolo.model.start.record import MOBILENET_V2_COCO
from micro_yolo.model.zoo import ARCHS
from micro_yolo.pipeline import prune
from micro_yolo.pipeline.data.strength import Strength
from micro_yolo.pipeline.learn.evenly import kept_evenly
from micro_yolo.pipeline.learn.recipe import Recipe
from micro_yolo.pipeline.store.finished import find

pytestmark = pytest.mark.slow
NO_GOAL = float("inf")


@pytest.fixture(scope="module")
def started() -> tuple[Arch, dict[str, list[np.ndarray]]]:
    """The network that has start weights, small, with random ones."""
    keras.utils.set_random_seed(0)
    arch = thinned(ARCHS["micro_yolo_mobile"]).resized((64, 64)).with_classes(3)
    return arch, weights_of(build(arch))


def config(run: Path, **changes: Any) -> prune.Config:
    recipe = Recipe(epochs=2, learning_rate=1e-3, warmup_epochs=0.0)
    settings: dict[str, Any] = {"pattern": "even", "target_macs": 0.7, "recipe": recipe, "batch": 4}
    return prune.Config(run=run, augment=Strength(mosaic=0), **(settings | changes))


@pytest.fixture(scope="module")
def finished_run(briefest_run: Path) -> Path:
    return briefest_run


@pytest.mark.parametrize("share", [0.66, 0.33])
def test_a_network_with_start_weights_is_cut_to_a_share_of_its_work(
    started: tuple[Arch, dict[str, list[np.ndarray]]], share: float
) -> None:
    arch, weights = started
    units = channels_of(arch).units
    keep = kept_evenly(arch, weights, tuple(units), (NO_GOAL, share * count(arch).macs), 0.5)
    smaller, fewer = cut(arch, weights, keep)
    assert 0.9 * share < count(smaller).macs / count(arch).macs <= share
    assert all(len(its) % 8 == 0 for unit, its in keep.items() if len(units[unit]) >= 16)
    shares = [len(its) / len(units[unit]) for unit, its in keep.items() if len(units[unit]) >= 128]
    assert max(shares) - min(shares) < 8 / 128
    # The strongest stay.
    scores = importance(arch, weights, "b16.mid")
    assert set(keep["b16.mid"]) == set(np.argsort(-scores, kind="stable")[: len(keep["b16.mid"])].tolist())
    assert {name: [a.shape for a in arrays] for name, arrays in fewer.items()} == {
        name: [a.shape for a in arrays] for name, arrays in weights_of(build(smaller)).items()
    }


def test_rows_that_are_not_named_stay_whole(started: tuple[Arch, dict[str, list[np.ndarray]]]) -> None:
    arch, weights = started
    keep = kept_evenly(arch, weights, ("n7", "n10"), (NO_GOAL, 0.95 * count(arch).macs), 0.9)
    assert set(keep) == {"n7", "n10"}


def test_a_target_out_of_reach(started: tuple[Arch, dict[str, list[np.ndarray]]]) -> None:
    arch, weights = started
    with pytest.raises(ValueError, match=r"^most: 0\.25 of every row leaves [\d,]+ parameters and .* MMAC, more than"):
        kept_evenly(arch, weights, tuple(channels_of(arch).units), (NO_GOAL, 0.33 * count(arch).macs), 0.25)


def test_start_weights_are_not_for_cut_rows(started: tuple[Arch, dict[str, list[np.ndarray]]]) -> None:
    arch, weights = started
    assert arch.start
    assert cut(arch, weights, {"n7": list(range(8))})[0].start == ""
    assert cut(arch, weights, {})[0].start == arch.start


def test_an_even_stage_is_one_like_others(own_run: Path) -> None:
    file = own_run / "train" / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "start": MOBILENET_V2_COCO.facts()}))
    before = find(own_run, "train")
    result = prune.run(config(own_run, distill=1.0))
    found = find(own_run)
    assert (result.network.params, result.network.macs) == (count(found.arch).params, count(found.arch).macs)
    assert result.network.macs <= 0.7 * result.unpruned.macs == 0.7 * count(before.arch).macs
    assert found.stage.name == "prune" and found.start == before.start
    kept = json.loads((own_run / "prune" / "channels.json").read_text())["kept"]
    assert found.arch == cut(before.arch, weights_of(before.weighted()), kept)[0]
    assert [layer.name for layer in found.weighted().layers] == [layer.name for layer in before.weighted().layers]
    assert (own_run / "prune" / "history.csv").is_file() and not (own_run / "prune" / "training").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_macs": None}, r"^pattern: even wants --target-macs or --target-params"),
        ({"final_epochs": 2}, r"^pattern: even wants .* leave out --final-epochs$"),
        ({"most": 0.1}, r"^most: 0\.1 of every row leaves"),
        ({"rows": ("l66",)}, r"^tiny: 'l66' has no channels that can be cut"),
    ],
)
def test_wrong_settings_make_no_stage(own_run: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        prune.run(config(own_run, **changes))
    assert not (own_run / "prune").exists()
