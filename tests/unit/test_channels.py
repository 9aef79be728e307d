"""Which channels are tied, and what may not be cut; that a cut network computes the same is in tests/export."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from micro_yolo.model.channels import channels_of, check_unit, cut, importance, positions
from micro_yolo.model.count import count
from micro_yolo.model.spec import Arch, Row
from micro_yolo.model.zoo import ARCHS

NET = Arch(
    "net",
    (
        Row("a", "conv", 8, k=3, s=2),
        Row("b", "mbconv", 8, k=3, mid=12, se=2, skip=True),
        Row("p", "pool", k=2, s=2),
        Row("c", "separable", 6, k=3),
        Row("cat", "concat", src=("c", "p")),
        Row("e", "pep", 14, k=3, pre=3, mid=5, skip=True),
        Row("f", "fca", se=2),
        Row("d", "detect", anchors=((9, 9),)),
    ),
    size=(32, 32),
    classes=2,
)


def random(size: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(sum(size)).normal(size=size)


def weights_for(arch: Arch, make: Callable[[tuple[int, ...]], np.ndarray] = random) -> dict[str, list[np.ndarray]]:
    """Arrays of the shapes `axes` speaks of; axes it does not name get size 1."""
    shapes: dict[str, dict[int, dict[int, int]]] = {}
    for axis in channels_of(arch).axes:
        shapes.setdefault(axis.layer, {}).setdefault(axis.weight, {})[axis.axis] = len(axis.channels)
    made = {}
    for layer, arrays in shapes.items():
        sizes = [
            (sides.get(0, 1), *(sides.get(i, 1) for i in (1, 2, 3))) if set(sides) & {2, 3} else (sides[0],)
            for _, sides in sorted(arrays.items())
        ]
        made[layer] = [make(size) for size in sizes]
    return made


def test_units_and_what_shares_them() -> None:
    found = channels_of(NET)
    assert found.widths() == {"a": 8, "b.mid": 12, "c": 6, "e.pre": 3, "e.mid": 5}
    assert found.shared == {"b": "a", "p": "a", "cat": "c and a", "e": "c and a", "f": "c and a"}
    assert np.array_equal(found.rows["f"], np.concatenate([found.units["c"], found.units["a"]]))


def test_a_cut_reaches_every_row_that_is_tied() -> None:
    smaller, weights = cut(NET, weights_for(NET), {"a": [1, 2, 4, 7]})
    assert smaller.channels == {"input": 3, "a": 4, "b": 4, "p": 4, "c": 6, "cat": 10, "e": 10, "f": 10, "d": 7}
    assert smaller.row("b").mid == 12
    shapes = {layer: [array.shape for array in arrays] for layer, arrays in weights.items()}
    assert shapes["a_conv"] == [(1, 1, 3, 4)]
    assert shapes["c_dw"] == [(1, 1, 4, 1)]
    assert shapes["e_project"] == [(1, 1, 5, 10)]
    assert shapes["f_se_squeeze"] == [(1, 1, 10, 1)]
    assert shapes["d_box"] == [(1, 1, 10, 1)]


def test_a_cut_takes_the_right_channels_and_leaves_its_arguments_alone() -> None:
    weights = weights_for(NET)
    before = {layer: [array.copy() for array in arrays] for layer, arrays in weights.items()}
    _, smaller = cut(NET, weights, {"b.mid": [0, 5, 11]})
    assert np.array_equal(smaller["b_expand"][0], weights["b_expand"][0][..., [0, 5, 11]])
    assert np.array_equal(smaller["b_dw"][0], weights["b_dw"][0][:, :, [0, 5, 11]])
    assert np.array_equal(smaller["b_project"][0], weights["b_project"][0][:, :, [0, 5, 11]])
    assert np.array_equal(smaller["b_se_excite"][0], weights["b_se_excite"][0][..., [0, 5, 11]])
    assert np.array_equal(smaller["b_expand_bn"][2], weights["b_expand_bn"][2][[0, 5, 11]])
    for layer, arrays in before.items():
        assert all(np.array_equal(a, b) for a, b in zip(arrays, weights[layer], strict=True))


def test_a_cut_without_batch_norm_takes_the_bias_along() -> None:
    rows = (
        Row("a", "conv", 5, k=3, s=2),
        Row("b", "conv", 3, bn=False),
        Row("d", "detect", anchors=((9, 9),)),
    )
    arch = Arch("net", rows, size=(32, 32), classes=2)
    weights = weights_for(arch)
    _, smaller = cut(arch, weights, {"a": [0, 1, 4], "b": [0, 2]})
    assert np.array_equal(smaller["b_conv"][0], weights["b_conv"][0][:, :, [0, 1, 4]][..., [0, 2]])
    assert np.array_equal(smaller["b_conv"][1], weights["b_conv"][1][[0, 2]])


def nothing(size: tuple[int, ...]) -> np.ndarray:
    return np.zeros(size, np.int8)


@pytest.mark.parametrize("name", ARCHS)
@settings(max_examples=settings().max_examples * 3 // 10)
@given(data=st.data())
def test_any_cut_is_a_network_with_fewer_parameters(name: str, data: st.DataObject) -> None:
    arch = ARCHS[name].with_classes(2)
    units = channels_of(arch).widths()
    unit = data.draw(st.sampled_from(sorted(units)))
    kept = data.draw(st.integers(1, units[unit]))
    smaller, _ = cut(arch, weights_for(arch, nothing), {unit: list(range(kept))})
    assert channels_of(smaller).widths() == {**units, unit: kept}
    assert (count(smaller).params < count(arch).params) == (kept < units[unit])
    assert Arch.from_json(smaller.to_json()) == smaller


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        ({"a": []}, r"^net\.a: at least one of its 8 channels must stay, got none$"),
        ({"a": [3, 2]}, r"^net\.a: the channels that stay must be ascending within 0\.\.7, got \[3, 2\]$"),
        ({"a": [1, 1]}, r"ascending"),
        ({"a": [-1, 2]}, r"within 0\.\.7"),
        ({"a": [8]}, r"within 0\.\.7"),
        ({"b": [0]}, r"^net\.b: its channels are those of a; allowed: name that row$"),
        ({"e": [0]}, r"^net\.e: its channels are those of c and a"),
        ({"b.mit": [0]}, r"^net: 'b\.mit' has no channels that can be cut; nearest: b\.mid"),
        ({"d": [0]}, r"^net: 'd' has no channels that can be cut"),
    ],
)
def test_a_cut_that_cannot_be_is_refused(keep: dict[str, list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cut(NET, weights_for(NET), keep)


def test_check_unit_lets_units_pass() -> None:
    for unit in channels_of(NET).units:
        check_unit(NET, unit)


def test_importance_ranks_filters() -> None:
    weights = weights_for(NET)
    weights["b_expand"][0][..., 4] = 0.001
    weights["b_expand_bn"][0][:] = 1
    weights["b_expand_bn"][0][9] = -0.001
    assert importance(NET, weights, "b.mid").argmin() == 4
    assert importance(NET, weights, "b.mid", "gamma").argmin() == 9
    assert importance(NET, weights, "b.mid").mean() == pytest.approx(1)


def test_importance_sums_over_a_skip() -> None:
    """Channel 3 is made by three layers: weak in one of them is not weak."""
    weights = weights_for(NET)
    for layer in ("a_conv", "b_project"):
        weights[layer][0][:] = 1
    weights["e_project"][0][:] = 1
    weights["a_conv"][0][..., 3] = 0
    for layer in ("a_conv", "b_project"):
        weights[layer][0][..., 5] = 0.3
    weights["e_project"][0][..., 6 + 5] = 0.3  # a's channels lie behind c's six in the concat
    assert importance(NET, weights, "a").argmin() == 5


def test_importance_of_a_network_without_batch_norm_is_l1() -> None:
    arch = ARCHS["yolo_lite"].with_classes(2)
    weights = weights_for(arch)
    assert np.array_equal(importance(arch, weights, "conv3"), importance(arch, weights, "conv3", "gamma"))


def test_positions_name_each_layer_once() -> None:
    found = channels_of(NET)
    dropped = found.units["a"][[6, 2]]
    where = positions(found.axes, dropped, "gamma", "bias")
    assert {layer: at.tolist() for layer, at in where.items()} == {
        "a_bn": [6, 2],
        "b_project_bn": [6, 2],
        "c_dw_bn": [6, 2],
        "e_project_bn": [12, 8],
    }
