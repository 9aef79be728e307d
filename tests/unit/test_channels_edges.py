"""How much a channel matters, in numbers by hand, and small cases of cutting."""

from __future__ import annotations

import numpy as np
import pytest
from test_channels import NET, weights_for

from micro_yolo.model.channels import Axis, channels_of, cut, importance, positions
from micro_yolo.model.spec import Arch, Row


def test_importance_by_hand() -> None:
    """Channels of `a` are made by three layers, each of which counts alike whatever the size of its weights."""
    weights = weights_for(NET)
    one, two, three = np.arange(1.0, 9.0), np.array([5.0, 1, 1, 1, 1, 1, 1, 5]), np.array([1.0, 1, 1, 9, 1, 1, 1, 1])
    weights["a_conv"][0][:] = -100 * one
    weights["b_project"][0][:] = 0.0001 * two
    weights["e_project"][0][:] = 7
    weights["e_project"][0][..., 6:] = 0.5 * three  # behind the six channels of c
    # Their mean is 1; that of e_project's eight too, once the other six are left out.
    expected = (one / 4.5 + two / 2 + three / 2) / 3
    np.testing.assert_allclose(importance(NET, weights, "a"), expected, rtol=1e-12)
    np.testing.assert_allclose(importance(NET, weights, "a", "l1"), expected, rtol=1e-12)


def test_importance_by_the_scale_of_batch_norm() -> None:
    weights = weights_for(NET)
    for layer, scale in (("a_bn", 1.0), ("b_project_bn", -0.01)):
        weights[layer][0][:] = scale * np.arange(1, 9)
    weights["e_project_bn"][0][:] = np.arange(14, 0, -1)  # of a: 8 down to 1
    expected = (2 * np.arange(1, 9) / 4.5 + np.arange(8, 0, -1) / 4.5) / 3
    np.testing.assert_allclose(importance(NET, weights, "a", "gamma"), expected, rtol=1e-12)


def test_nothing_matters_in_a_network_of_zeros() -> None:
    zeros = weights_for(NET, np.zeros)
    for by in ("l1", "gamma"):
        assert importance(NET, zeros, "b.mid", by).tolist() == [0.0] * 12


def test_importance_is_of_a_unit() -> None:
    with pytest.raises(ValueError, match=r"^net\.b: its channels are those of a; allowed: name that row$"):
        importance(NET, weights_for(NET), "b")


def test_names_that_are_nearly_right() -> None:
    units = "allowed: l1, l2, l3, l4, mid"
    net = Arch(
        "net",
        (
            *(Row(name, "conv", 2, k=1) for name in ("l1", "l2", "l3", "l4", "mid")),
            Row("d", "detect", anchors=((9, 9),)),
        ),
        size=(8, 8),
        classes=1,
    )
    for name, near in (("l5", "nearest: l4, l3, l2; "), ("mixture", "nearest: mid; "), ("qqq", "")):
        with pytest.raises(ValueError) as error:
            importance(net, {}, name)
        assert str(error.value) == f"net: {name!r} has no channels that can be cut; {near}{units}"


def test_a_cut_of_nothing_changes_nothing() -> None:
    weights = weights_for(NET)
    same, arrays = cut(NET, weights, {})
    assert same == NET
    assert all(np.array_equal(a, b) for layer in weights for a, b in zip(weights[layer], arrays[layer], strict=True))
    assert cut(NET, weights, {unit: list(range(n)) for unit, n in channels_of(NET).widths().items()})[0] == NET


def test_units_are_cut_together_and_apart() -> None:
    weights = weights_for(NET)
    smaller, arrays = cut(NET, weights, {"a": [0, 7], "b.mid": [3], "e.pre": [0, 2], "c": [1, 2, 3, 4, 5]})
    assert channels_of(smaller).widths() == {"a": 2, "b.mid": 1, "c": 5, "e.pre": 2, "e.mid": 5}
    assert np.array_equal(arrays["a_conv"][0], weights["a_conv"][0][..., [0, 7]])
    # What e adds to: the five of c, then the two of a.
    assert np.array_equal(arrays["e_project"][0], weights["e_project"][0][..., [1, 2, 3, 4, 5, 6, 13]])
    assert np.array_equal(arrays["d_box"][0], weights["d_box"][0][:, :, [1, 2, 3, 4, 5, 6, 13]])
    assert np.array_equal(arrays["b_project"][0], weights["b_project"][0][:, :, [3]][..., [0, 7]])
    assert np.array_equal(arrays["e_pre"][0], weights["e_pre"][0][:, :, [1, 2, 3, 4, 5, 6, 13]][..., [0, 2]])


def test_a_gate_keeps_its_squeeze_and_a_convolution_its_bias() -> None:
    """The axes of a small table, written out: layer, weight, axis, first channel, kind, whether it makes them."""
    net = Arch(
        "small",
        (
            Row("x", "conv", 2, k=1, bn=False),
            Row("y", "mbconv", 4, k=3, mid=3, se=2),
            Row("d", "detect", anchors=((9, 9),)),
        ),
        size=(8, 8),
        classes=1,
    )

    def norm(layer: str, first: int, makes: bool) -> list[tuple[object, ...]]:
        kinds = ("gamma", "beta", "statistic", "statistic")
        return [(layer, n, 0, first, kind, makes) for n, kind in enumerate(kinds)]

    found = [
        (axis.layer, axis.weight, axis.axis, int(axis.channels[0]), axis.part, axis.makes)
        for axis in channels_of(net).axes
    ]
    assert found == [
        ("x_conv", 0, 2, -1, "kernel_in", False),
        ("x_conv", 0, 3, 0, "kernel_out", True),
        ("x_conv", 1, 0, 0, "bias", False),
        ("y_expand", 0, 2, 0, "kernel_in", False),
        ("y_expand", 0, 3, 2, "kernel_out", True),
        *norm("y_expand_bn", 2, True),
        ("y_dw", 0, 2, 2, "depthwise", False),
        *norm("y_dw_bn", 2, False),
        ("y_se_squeeze", 0, 2, 2, "kernel_in", False),
        ("y_se_excite", 0, 3, 2, "kernel_out", False),
        ("y_project", 0, 2, 2, "kernel_in", False),
        ("y_project", 0, 3, 5, "kernel_out", True),
        *norm("y_project_bn", 5, True),
        *((f"d_{part}", 0, 2, 5, "kernel_in", False) for part in ("box", "obj", "cls")),
    ]
    assert channels_of(net).rows["d"].tolist() == []


def test_positions_of_nothing_and_of_a_channel_that_is_there_twice() -> None:
    axis = Axis("twice", 0, 0, np.array([4, 5, 4]), "bias")
    assert {k: v.tolist() for k, v in positions([axis], np.array([4]), "bias").items()} == {"twice": [0, 2]}
    assert positions([axis], np.array([9]), "bias") == positions([axis], np.array([4]), "gamma") == {}
