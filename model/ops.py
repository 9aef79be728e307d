"""The operations of a table: `OPS`, each a function from a row to the primitives it is made of. No TensorFlow.

A new operation is a function and a line here; a network with it can then be built, counted, cut, quantized and shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from micro_yolo.model.primitives import Block, Concat, Conv, Depthwise, Gate, Pool, Skip, Upsample
from micro_yolo.model.row import Row


@dataclass(frozen=True)
class Op:
    """An operation.

    Attributes:
      block: the primitives of a row.
      fields: of `Row` that it reads besides name and src; any other that is set would be ignored in silence.
      least: fields without which it makes no sense -> their least value.
      reads_image: whether it may: the deployable model divides by 255 inside its first convolution's kernel.
    """

    block: Callable[[Row], Block]
    fields: tuple[str, ...] = ()
    least: Mapping[str, int] = field(default_factory=dict)
    reads_image: bool = False


def conv(row: Row) -> Block:
    """K x k convolution."""
    return (Conv("conv", row.out, row.k, row.s, bn=row.bn, behind=""),)


def separable(row: Row) -> Block:
    """Depthwise separable convolution, Micro-YOLO's DSConv."""
    return (Depthwise(row.k, row.s), Conv("pw", row.out))


def mbconv(row: Row) -> Block:
    """Expansion, depthwise, gate, linear projection (MobileNetV2/V3; YOLO Nano's EP)."""
    return (
        *([Conv("expand", row.mid, width="mid")] if row.mid else []),
        Depthwise(row.k, row.s),
        *([Gate(row.se)] if row.se else []),
        Conv("project", row.out, act=False),
        *([Skip()] if row.skip else []),
    )


def pep(row: Row) -> Block:
    """1x1 projection, then as `mbconv` (YOLO Nano, arXiv 1910.01271, section 3)."""
    return (Conv("pre", row.pre, width="pre"), *mbconv(row))


def fca(row: Row) -> Block:
    """Fully connected attention: the gate alone (YOLO Nano)."""
    return (Gate(row.se),)


def pool(row: Row) -> Block:
    """Max-pool."""
    return (Pool(row.k, row.s),)


def upsample(row: Row) -> Block:
    """Every cell s x s times."""
    return (Upsample(row.s),)


def concat(row: Row) -> Block:
    """Channels side by side, in the order of `src`."""
    return (Concat(),)


OPS = {
    "conv": Op(conv, ("out", "k", "s", "act", "bn"), {"out": 1}, reads_image=True),
    "separable": Op(separable, ("out", "k", "s", "act"), {"out": 1}),
    "mbconv": Op(mbconv, ("out", "k", "s", "mid", "se", "skip", "act"), {"out": 1}),
    "pep": Op(pep, ("out", "k", "s", "pre", "mid", "skip", "act"), {"out": 1, "pre": 1, "mid": 1}),
    "fca": Op(fca, ("se",), {"se": 1}),
    "pool": Op(pool, ("k", "s")),
    "upsample": Op(upsample, ("s",), {"s": 2}),
    "concat": Op(concat),
}


def block_of(row: Row) -> Block:
    """The primitives of a row; none for a detection row, which is its head's."""
    return OPS[row.op].block(row) if row.op in OPS else ()


def has_kernel(row: Row) -> bool:
    """Whether a row's `k` is the size of a convolution's kernel; a pool's is its window."""
    return row.op in OPS and "k" in OPS[row.op].fields and any(isinstance(p, Conv | Depthwise) for p in block_of(row))


def width_behind(row: Row, width: int) -> int:
    """Channels of what a row puts out, what it reads having `width`."""
    for part in block_of(row):
        if isinstance(part, Conv):
            width = part.out
    return width


def stride_behind(row: Row, stride: int) -> int:
    """Input pixels per cell of what a row puts out, those of what it reads being `stride`."""
    for part in block_of(row):
        if isinstance(part, Upsample):
            stride //= part.s
        elif isinstance(part, Conv | Depthwise | Pool):
            stride *= part.s
    return stride


def in_words(row: Row) -> str:
    """A row's fields in a few words: ``mbconv 5x5 mid 64 se 2``."""
    words = [row.op]
    if row.k > 1:
        words.append(f"{row.k}x{row.k}")
    if row.s > 1:
        words.append(f"/{row.s}" if stride_behind(row, 1) > 1 else f"x{row.s}")
    inner = [name for name in (OPS[row.op].fields if row.op in OPS else ()) if name not in ("out", "k", "s")]
    words += [f"{name} {value}" for name in inner if type(value := getattr(row, name)) is int and value]
    if row.skip:
        words.append("skip")
    if row.src:
        words.append(f"of {', '.join(row.src)}")
    return " ".join(words)
