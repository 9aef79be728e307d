"""Kernels as integers and their distribution shifts (Nascimento et al. 2019, arXiv 1901.01928). Pure numpy.

The paper's DSConv, which is not the separable convolution Micro-YOLO calls so. A kernel is stored as VQK, integers of b
bits in the kernel's shape, and KDS, a scale per block of input channels; CDS, a scale and a bias per output channel, is
what batch norm becomes when it is folded. The kernel used is CDS * KDS * VQK.

Kernels are in Keras' layout, (k,k,Cin,Cout); a depthwise kernel is passed as (k,k,1,C).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BITS = (2, 8)
METHODS = ("l2", "kl")
SHIFT_BYTES = 4  # a shift is a float32, in the paper as here

# Weights below this count as zero: their scale, in float32, would leave the normal numbers.
_ZERO = 1e-30
# Elements of one batch of the exact search, 8 bytes each in some five arrays.
_BATCH = 1 << 21
# The exact search is for up to so many integers of a sign (4 bits); above, its time grows and its gain vanishes.
_EXACT = 8
# Scales tried otherwise, in units of the one that just does not clip.
_RATIOS = np.geomspace(0.3, 1.3, 129)
_REFITS = 8
_BISECTIONS = 40
# Softmax of weights below this is uniform to all but a few digits.
_INVISIBLE = 1e-6


def limits(bits: int) -> tuple[int, int]:
    """The smallest and largest integer of `bits` bits (section 3.1): [-2^(b-1), 2^(b-1) - 1].

    For 8 bits [-127, 127]: TFLite's int8 kernels are symmetric.

    Raises:
      ValueError: `bits` is no whole number from 2 to 8.
    """
    if isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not BITS[0] <= bits <= BITS[1]:
        raise ValueError(f"bits: must be a whole number from {BITS[0]} to {BITS[1]}, got {bits!r}")
    return (-127, 127) if bits == 8 else (-(2 ** (int(bits) - 1)), 2 ** (int(bits) - 1) - 1)


def fit(
    kernel: np.ndarray, bits: int, *, block: int | None = None, method: str = "l2"
) -> tuple[np.ndarray, np.ndarray]:
    """Integers and shifts whose product is nearest to a kernel.

    Args:
      kernel: floats, (k,k,Cin,Cout), or (k,k,1,C) of a depthwise convolution.
      bits: of the integers, 2 to 8.
      block: None for one shift per output channel, which TFLite's int8 kernels can hold; else the input channels that
        share one, with one shift for each position and output channel (section 3.1).
      method: "l2" is least squared error: up to 4 bits the least there is, above the best of 130 scales, rounded and
        refitted by turns; never worse than scaling the largest weight to the largest integer. "kl" is the paper's other
        start: least KL divergence of softmax(shift * integers) from softmax(kernel) over a block, the best of 33 scales
        and of "l2", the shift then moved to the minimum for these integers. It does not see a block's mean. Where it
        sees nothing at all (all integers equal, or weights below 1e-6), or ends farther from the weights than zeros
        are, it is "l2".

    Returns:
      vqk: int8, (k,k,Cin,Cout), within `limits(bits)`.
      kds: float32, positive; (1,1,1,Cout) without blocks, else (k,k,ceil(Cin/block),Cout). For "l2" it is the least
        squares fit sum(w*q) / sum(q*q) to these integers. A block of zeros gets the kernel's median shift.

    Raises:
      ValueError: bits, block or method not as above; the kernel has not four dimensions, is empty or not finite.
    """
    low, high = limits(bits)
    if method not in METHODS:
        raise ValueError(f"method: unknown, got {method!r}; allowed: {', '.join(METHODS)}")
    _check_block(block)
    weights = np.asarray(kernel, np.float64)
    _check_shape(weights.shape)
    if not np.isfinite(weights).all():
        raise ValueError("kernel: must be finite, got NaN or infinity; train the network again")
    weights = np.where(np.abs(weights) < _ZERO, 0, weights)
    vqk = np.zeros(weights.shape, np.int8)
    kds = np.empty(_shifts_shape(weights.shape, block))
    for part, scales in _parts(weights.shape, block):
        rows = _rows(weights[:, :, part], block)
        solve = _least_squares if method == "l2" else _least_divergence
        integers, found = solve(rows, low, high)
        vqk[:, :, part] = _unrows(integers, vqk[:, :, part].shape, block)
        kds[:, :, scales] = found.reshape(kds[:, :, scales].shape)
    seen = kds[kds > 0]
    kds[kds == 0] = np.median(seen) if seen.size else 1 / high
    return vqk, kds.astype(np.float32)


def expand(kds: np.ndarray, kernel_shape: Sequence[int], block: int | None) -> np.ndarray:
    """`kds` of `fit`, broadcast to the kernel's shape: the kernel is ``expand(kds, vqk.shape, block) * vqk``.

    Raises:
      ValueError: `kds` is not what `fit` gives for this shape and block.
    """
    shape = tuple(kernel_shape)
    _check_shape(shape)
    _check_block(block)
    if kds.shape != _shifts_shape(shape, block):
        raise ValueError(f"kds: shape must be {_shifts_shape(shape, block)}, got {kds.shape} (block {block or 'all'})")
    return np.broadcast_to(kds, shape) if block is None else np.repeat(kds, block, axis=2)[:, :, : shape[2]]


def stored_bytes(kernel_shape: Sequence[int], bits: int, block: int | None) -> int:
    """Bytes of a kernel's integers, packed to `bits` bits, and of its float32 shifts (KDS; CDS is batch norm's anyway).

    Against 4 bytes a weight, 2 bits in blocks of 128 are 32 / (2 + 32/128) = 14.2 times less, the paper's "up to 14x".
    """
    limits(bits)
    shape = tuple(kernel_shape)
    _check_shape(shape)
    _check_block(block)
    packed = -(-int(np.prod(shape)) * bits // 8)
    return packed + SHIFT_BYTES * int(np.prod(_shifts_shape(shape, block)))


def _check_block(block: int | None) -> None:
    if block is not None and (isinstance(block, bool) or not isinstance(block, int | np.integer) or block < 1):
        raise ValueError(f"block: must be a whole number of input channels from 1, or None for all, got {block!r}")


def _check_shape(shape: tuple[int, ...]) -> None:
    if len(shape) != 4 or 0 in shape:
        raise ValueError(f"kernel: shape must be (k, k, inputs, outputs), none of them 0, got {shape}")


def _shifts_shape(shape: tuple[int, ...], block: int | None) -> tuple[int, ...]:
    if block is None:
        return 1, 1, 1, shape[3]
    return shape[0], shape[1], -(-shape[2] // block), shape[3]


def _parts(shape: tuple[int, ...], block: int | None) -> list[tuple[slice, slice]]:
    """Slices of input channels, and of their shifts, in which all blocks are of one length."""
    if block is None:
        return [(slice(None), slice(None))]
    whole = shape[2] // block
    parts = [(slice(0, whole * block), slice(0, whole))] if whole else []
    return [*parts, (slice(whole * block, None), slice(whole, None))] if shape[2] % block else parts


def _rows(kernel: np.ndarray, block: int | None) -> np.ndarray:
    """A row for each shift, in KDS's order: (blocks, weights that share it)."""
    height, width, inputs, outputs = kernel.shape
    if block is None:
        return kernel.reshape(-1, outputs).T
    size = min(block, inputs)
    split = kernel.reshape(height, width, inputs // size, size, outputs)
    return split.transpose(0, 1, 2, 4, 3).reshape(-1, size)


def _unrows(rows: np.ndarray, shape: tuple[int, ...], block: int | None) -> np.ndarray:
    """The inverse of `_rows`."""
    height, width, inputs, outputs = shape
    if block is None:
        return rows.T.reshape(shape)
    size = min(block, inputs)
    return rows.reshape(height, width, inputs // size, outputs, size).transpose(0, 1, 2, 4, 3).reshape(shape)


def _least_squares(rows: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales of least squared error, (N,n) and (N,); 0 is the scale of zeros."""
    if -low > _EXACT:
        scales = _scan(rows, low, high)
    else:
        scales = np.empty(len(rows))
        step = max(1, _BATCH // (rows.shape[1] * -low))
        for start in range(0, len(rows), step):
            scales[start : start + step] = _best_scale(rows[start : start + step], low, high)
    for _ in range(_REFITS):
        integers = _nearest(rows, scales, low, high)
        scales = _refit(rows, integers)
    return integers.astype(np.int8), scales


def _scan(rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """Per row the scale tried whose integers, with the best scale for them, have the least squared error."""
    unclipped = _unclipped(rows, low, high)
    scales, most = np.zeros(len(rows)), np.zeros(len(rows))
    for tried in (*(ratio * unclipped for ratio in _RATIOS), np.abs(rows).max(1) / high):
        integers = _nearest(rows, tried, low, high)
        products, squares = (rows * integers).sum(1), (integers * integers).sum(1)
        # The error is sum(w^2) less this.
        explained = products**2 / np.maximum(squares, 1)
        scales, most = np.where(explained > most, tried, scales), np.maximum(explained, most)
    return scales


def _best_scale(rows: np.ndarray, low: int, high: int) -> np.ndarray:
    """Per row the scale s > 0 with the least sum((w - s*q)^2), exactly.

    Let s fall from infinity: the nearest integers are 0 at first, and |q| of a weight steps to m where s = |w|/(m-1/2).
    Between two steps the integers are fixed, and with the best scale for them the error is sum(w^2) - A^2/B, where
    A = sum(w*q) and B = sum(q^2). The best integers are the nearest ones to some scale, so the best step is the best of
    all.
    """
    count = len(rows)
    levels = np.arange(1, -low + 1)
    sizes = np.abs(rows)[:, :, None]
    usable = (levels <= np.where(rows < 0, -low, high)[:, :, None]) & (sizes > 0)
    steps = np.where(usable, sizes / (levels - 0.5), 0).reshape(count, -1)
    order = np.argsort(-steps, axis=1)
    grow_a = np.where(usable, sizes, 0).reshape(count, -1)
    grow_b = np.where(usable, 2 * levels - 1, 0).reshape(count, -1)
    a = np.cumsum(np.take_along_axis(grow_a, order, 1), axis=1)
    b = np.cumsum(np.take_along_axis(grow_b, order, 1), axis=1)
    best = np.argmax(a * a / np.maximum(b, 1), axis=1)[:, None]
    return (np.take_along_axis(a, best, 1) / np.maximum(np.take_along_axis(b, best, 1), 1))[:, 0]


def _least_divergence(rows: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales of least KL divergence, (N,n) and (N,); 0 is the scale of zeros."""
    target = np.exp(rows - rows.max(1, keepdims=True))
    target /= target.sum(1, keepdims=True)
    unclipped, largest = _unclipped(rows, low, high), np.abs(rows).max(1)
    nearest, nearest_scales = _least_squares(rows, low, high)
    least = np.full(len(rows), np.inf)
    integers = np.zeros_like(rows)
    for scales in (*(ratio * unclipped for ratio in _RATIOS[::4]), nearest_scales):
        tried = _nearest(rows, scales, low, high)
        most = tried.max(1)
        # log(sum(exp(s*q))) - sum(p*s*q): the divergence, less what no scale changes.
        powers = np.exp(scales[:, None] * (tried - most[:, None]))
        divergence = np.log(powers.sum(1)) + scales * (most - (target * tried).sum(1))
        better = divergence < least
        integers[better], least[better] = tried[better], divergence[better]
    # For fixed integers the divergence is convex in the scale. Its slope: the mean integer it gives less the target's.
    from_most = integers - integers.max(1, keepdims=True)
    wanted = (target * from_most).sum(1)
    below, above = np.zeros(len(rows)), 2 * largest
    for _ in range(_BISECTIONS):
        middle = (below + above) / 2
        powers = np.exp(middle[:, None] * from_most)
        rising = (powers * from_most).sum(1) > wanted * powers.sum(1)
        below, above = np.where(rising, below, middle), np.where(rising, middle, above)
    scales = (below + above) / 2
    # Of large weights, such as those of a depthwise kernel made from a start, softmax sees the largest alone.
    is_astray = ((scales[:, None] * integers - rows) ** 2).sum(1) > (rows**2).sum(1)
    blind = ~from_most.any(1) | (largest < _INVISIBLE) | is_astray
    integers = np.where(blind[:, None], nearest, integers)
    return integers.astype(np.int8), np.where(blind, nearest_scales, scales)


def _unclipped(rows: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.maximum(rows.max(1) / high, rows.min(1) / low)


def _nearest(rows: np.ndarray, scales: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.clip(np.rint(rows / np.where(scales > 0, scales, np.inf)[:, None]), low, high)


def _refit(rows: np.ndarray, integers: np.ndarray) -> np.ndarray:
    squares = (integers * integers).sum(1)
    return np.where(squares > 0, (rows * integers).sum(1) / np.maximum(squares, 1), 0)
