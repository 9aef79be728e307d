"""Integers and their distribution shifts: limits, shapes, and that nothing nearer to the kernel exists."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from micro_yolo.model.quantization import shift

ALL_BITS = st.integers(2, 8)
METHODS = st.sampled_from(shift.METHODS)
BLOCKS = st.none() | st.integers(1, 7)
# Steps of 1/512 keep products of these exact, and many weights equal or zero.
KERNELS = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 3)).flatmap(
    lambda n: arrays(np.float32, (n[0], n[0], n[1], n[2]), elements=st.integers(-2048, 2048).map(lambda i: i / 512))
)


def error(kernel: np.ndarray, vqk: np.ndarray, kds: np.ndarray, block: int | None) -> np.ndarray:
    """Squared error per shift, by the definition."""
    return per_shift(
        (kernel.astype(np.float64) - shift.expand(kds.astype(np.float64), vqk.shape, block) * vqk) ** 2, block
    )


def per_shift(values: np.ndarray, block: int | None) -> np.ndarray:
    """Sums over the weights that share a shift, in KDS's shape."""
    if block is None:
        return values.sum((0, 1, 2), keepdims=True)
    return np.add.reduceat(values, range(0, values.shape[2], block), axis=2)


def divergence(kernel: np.ndarray, vqk: np.ndarray, kds: np.ndarray, block: int | None) -> np.ndarray:
    """KL(softmax(kernel) || softmax(kds * vqk)) per shift, by the definition."""
    near = shift.expand(kds.astype(np.float64), kernel.shape, block) * vqk
    powers = [np.exp(k.astype(np.float64)) for k in (kernel, near)]
    p, q = (power / shift.expand(per_shift(power, block), kernel.shape, block) for power in powers)
    return per_shift(p * np.log(p / q), block)


@pytest.mark.parametrize(("bits", "expected"), [(2, (-2, 1)), (4, (-8, 7)), (7, (-64, 63)), (8, (-127, 127))])
def test_limits_are_twos_complement_and_symmetric_at_8(bits, expected):
    assert shift.limits(bits) == expected


@pytest.mark.parametrize("bits", [1, 9, 0, -4, 4.0, True, "4"])
def test_other_bits_are_refused(bits):
    with pytest.raises(ValueError, match=r"bits: .* from 2 to 8, got"):
        shift.limits(bits)


@given(KERNELS, ALL_BITS, BLOCKS, METHODS)
def test_integers_shifts_and_shapes(kernel, bits, block, method):
    vqk, kds = shift.fit(kernel, bits, block=block, method=method)
    low, high = shift.limits(bits)
    size, _, inputs, outputs = kernel.shape
    assert (vqk.dtype, vqk.shape) == (np.int8, kernel.shape)
    assert vqk.min() >= low
    assert vqk.max() <= high
    assert kds.dtype == np.float32
    assert kds.shape == ((1, 1, 1, outputs) if block is None else (size, size, -(-inputs // block), outputs))
    assert np.isfinite(kds).all()
    assert (kds > 0).all()
    assert not vqk[kernel == 0].any()


@given(KERNELS, ALL_BITS, BLOCKS)
def test_error_is_never_above_scaling_the_largest_weight(kernel, bits, block):
    vqk, kds = shift.fit(kernel, bits, block=block)
    low, high = shift.limits(bits)
    starts = [0] if block is None else range(0, kernel.shape[2], block)
    largest = np.maximum.reduceat(np.abs(kernel.astype(np.float64)), starts, axis=2)
    largest = largest.max((0, 1), keepdims=True) if block is None else largest
    plain = np.where(largest > 0, largest / high, 1)
    rounded = np.clip(np.rint(kernel / shift.expand(plain, kernel.shape, block)), low, high)
    bound = error(kernel, rounded, plain, block)
    # The shift returned is rounded to float32.
    assert (error(kernel, vqk, kds, block) <= bound + 1e-12 * per_shift(kernel.astype(np.float64) ** 2, block)).all()


@given(KERNELS, ALL_BITS, BLOCKS)
def test_shifts_are_the_least_squares_fit_to_the_integers(kernel, bits, block):
    vqk, kds = shift.fit(kernel, bits, block=block)
    squares = per_shift(vqk.astype(np.float64) ** 2, block)
    used = squares > 0
    expected = per_shift(kernel.astype(np.float64) * vqk, block)[used] / squares[used]
    np.testing.assert_allclose(kds[used], expected, rtol=1e-6)


@given(arrays(np.float32, 4, elements=st.integers(-64, 64).map(lambda i: i / 16)), st.sampled_from([2, 3]))
def test_no_integers_and_scale_are_nearer(weights, bits):
    kernel = weights.reshape(1, 1, 4, 1)
    vqk, kds = shift.fit(kernel, bits)
    low, high = shift.limits(bits)
    every = np.array(list(itertools.product(range(low, high + 1), repeat=4)), np.float64)
    squares = np.maximum((every**2).sum(1), 1)
    # A negative scale is none: TFLite has only positive ones.
    explained = np.maximum(every @ weights.astype(np.float64), 0) ** 2 / squares
    least = (weights.astype(np.float64) ** 2).sum() - explained.max()
    assert error(kernel, vqk, kds, None).item() == pytest.approx(least, abs=1e-9)


@given(KERNELS, ALL_BITS, BLOCKS, st.sampled_from([0.25, 2.0, 1024.0]))
def test_a_scaled_kernel_has_the_same_integers_and_scaled_shifts(kernel, bits, block, factor):
    vqk, kds = shift.fit(kernel, bits, block=block)
    scaled_vqk, scaled_kds = shift.fit(factor * kernel, bits, block=block)
    np.testing.assert_array_equal(scaled_vqk, vqk)
    if kernel.any():
        np.testing.assert_allclose(scaled_kds, factor * kds, rtol=1e-6)


def test_a_kernel_on_the_grid_comes_back():
    random = np.random.default_rng(0)
    for bits in range(2, 9):
        low, high = shift.limits(bits)
        integers = random.integers(low, high + 1, (3, 3, 20, 4))
        integers[:, :, ::5] = high  # every block reaches the end of the range
        scales = random.uniform(0.01, 0.1, (3, 3, 4, 4))
        kernel = shift.expand(scales, integers.shape, 5) * integers
        vqk, kds = shift.fit(kernel, bits, block=5)
        assert np.abs(shift.expand(kds, kernel.shape, 5) * vqk - kernel).max() < 1e-6


def test_smaller_blocks_and_more_bits_are_nearer():
    kernel = np.random.default_rng(1).laplace(size=(1, 1, 64, 8)) * 0.05
    errors = [
        [error(kernel, *shift.fit(kernel, bits, block=b), b).sum() for b in (8, 32, None)] for bits in (2, 3, 4, 8)
    ]
    assert (np.diff(errors, axis=0) < 0).all()
    assert (np.diff(errors, axis=1) > 0).all()


def test_a_last_short_block_and_a_block_too_long():
    kernel = np.random.default_rng(2).normal(size=(3, 3, 10, 4)).astype(np.float32)
    vqk, kds = shift.fit(kernel, 4, block=8)
    assert kds.shape == (3, 3, 2, 4)
    alone_vqk, alone_kds = shift.fit(kernel[:, :, 8:], 4, block=2)
    np.testing.assert_array_equal(vqk[:, :, 8:], alone_vqk)
    np.testing.assert_array_equal(kds[:, :, 1:], alone_kds)
    for one, other in zip(shift.fit(kernel, 4, block=100), shift.fit(kernel, 4, block=10), strict=True):
        np.testing.assert_array_equal(one, other)


def test_zero_channels_have_the_median_shift_and_no_trace_elsewhere():
    kernel = np.random.default_rng(3).normal(size=(3, 3, 6, 5))
    kernel[..., 2] = 0
    for method in shift.METHODS:
        vqk, kds = shift.fit(kernel, 4, method=method)
        others = np.delete(kds[0, 0, 0], 2)
        assert not vqk[..., 2].any()
        assert kds[0, 0, 0, 2] == pytest.approx(np.median(others), rel=1e-6)
        np.testing.assert_array_equal(others, shift.fit(np.delete(kernel, 2, 3), 4, method=method)[1][0, 0, 0])
    vqk, kds = shift.fit(np.zeros((3, 3, 1, 4)), 8)
    assert not vqk.any()
    assert (kds > 0).all()


def test_weights_that_leave_float32_count_as_zero():
    kernel = np.random.default_rng(4).normal(size=(1, 1, 8, 2))
    kernel[..., 1] *= 1e-38
    vqk, kds = shift.fit(kernel, 4)
    assert not vqk[..., 1].any()
    assert (kds >= 1e-4).all()


@given(KERNELS, ALL_BITS, BLOCKS)
def test_kl_has_the_lower_divergence_and_l2_the_lower_error(kernel, bits, block):
    l2, kl = (shift.fit(kernel, bits, block=block, method=method) for method in shift.METHODS)
    squares = per_shift(kernel.astype(np.float64) ** 2, block)
    if bits <= 4:  # above, l2 is no exact search
        assert (error(kernel, *kl, block) >= error(kernel, *l2, block) - 1e-12 * squares).all()
    assert (divergence(kernel, *kl, block) <= divergence(kernel, *l2, block) + 1e-9).all()


@pytest.mark.parametrize(("bits", "block"), [(2, 16), (3, None), (4, 8), (8, 16)])
def test_kl_is_at_its_minimum_in_the_shift(bits, block):
    kernel = np.random.default_rng(5).normal(size=(3, 3, 16, 4))
    vqk, kds = shift.fit(kernel, bits, block=block, method="kl")
    least = divergence(kernel, vqk, kds, block)
    for factor in (0.99, 1.01):
        assert (divergence(kernel, vqk, kds * np.float32(factor), block) > least).all()


@pytest.mark.parametrize("bits", [3, 8])
def test_kl_of_weights_it_cannot_see_is_least_squares(bits):
    kernel = 1e-9 * np.random.default_rng(6).normal(size=(3, 3, 4, 2))
    for one, other in zip(*(shift.fit(kernel, bits, method=method) for method in shift.METHODS), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("bits", [3, 5, 8])
def test_kl_of_large_weights_is_no_farther_from_them_than_zeros_are(bits):
    kernel = 5 * np.random.default_rng(1).normal(size=(3, 3, 32, 8)) ** 3
    vqk, kds = shift.fit(kernel, bits, method="kl")
    assert (((kds * vqk - kernel) ** 2).sum((0, 1, 2)) <= (kernel**2).sum((0, 1, 2))).all()


def test_kl_of_blocks_it_cannot_see_is_least_squares():
    kernel = np.full((3, 3, 1, 2), 0.5)
    vqk, kds = shift.fit(kernel, 3, block=1, method="kl")
    np.testing.assert_allclose(vqk * kds, kernel, rtol=1e-6)


def test_expand_repeats_each_shift_over_its_block():
    kds = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    np.testing.assert_array_equal(shift.expand(kds, (1, 1, 3, 2), 2)[0, 0], [[1, 2], [1, 2], [3, 4]])
    with pytest.raises(ValueError, match=r"kds: shape must be \(1, 1, 1, 2\), got \(1, 1, 2, 2\)"):
        shift.expand(kds, (1, 1, 3, 2), None)


def test_stored_bytes_are_the_integers_packed_and_a_float_a_shift():
    assert shift.stored_bytes((3, 3, 256, 10), 2, 128) == 3 * 3 * 256 * 10 * 2 // 8 + 4 * 3 * 3 * 2 * 10
    assert shift.stored_bytes((1, 1, 3, 1), 3, None) == 2 + 4  # 9 bits
    dense = 4 * 3 * 3 * 512 * 512
    assert dense / shift.stored_bytes((3, 3, 512, 512), 2, 128) == pytest.approx(32 / 2.25)


@pytest.mark.parametrize(
    ("kernel", "options", "message"),
    [
        (np.zeros((3, 3)), {}, "kernel: shape"),
        (np.zeros((3, 3, 0, 4)), {}, "kernel: shape"),
        (np.full((1, 1, 2, 2), np.nan), {}, "kernel: must be finite"),
        (np.zeros((1, 1, 2, 2)), {"block": 0}, "block: .* got 0"),
        (np.zeros((1, 1, 2, 2)), {"block": 1.5}, "block: .* got 1.5"),
        (np.zeros((1, 1, 2, 2)), {"method": "l1"}, "method: unknown, got 'l1'; allowed: l2, kl"),
        (np.zeros((1, 1, 2, 2)), {"bits": 9}, "bits: "),
    ],
)
def test_what_cannot_be_fitted_is_refused_in_one_line(kernel, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        shift.fit(kernel, **{"bits": 4, **options})
    assert "\n" not in str(caught.value)
