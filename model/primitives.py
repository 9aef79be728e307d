"""What blocks are made of: a block is a list of these, each working on what the one before puts out. No TensorFlow.

`model.layers` builds them, `model.count` counts them, `model.channels` says which of their channels are tied. Keras
layers are called ``{row}_{name}``, what stands behind a convolution ``{row}_{name}_bn`` and ``{row}_{name}_act``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conv:
    """K x k convolution, batch norm (or bias), activation. (B,h,w,c) -> (B,h/s,w/s,out).

    Attributes:
      name: of its layer.
      out: output channels.
      k: kernel size.
      s: stride.
      width: the field of `Row` that says `out`: what a cut changes.
      bn: batch norm behind it; without it a bias.
      act: the row's activation behind it; else none.
      behind: beginning of the names of batch norm and activation, by default `name` and "_".
    """

    name: str
    out: int
    k: int = 1
    s: int = 1
    width: str = "out"
    bn: bool = True
    act: bool = True
    behind: str | None = None

    @property
    def prefix(self) -> str:
        """Beginning of the names of what stands behind it."""
        return f"{self.name}_" if self.behind is None else self.behind


@dataclass(frozen=True)
class Depthwise:
    """K x k depthwise convolution, batch norm, activation. (B,h,w,c) -> (B,h/s,w/s,c)."""

    k: int
    s: int
    name: str = "dw"

    @property
    def prefix(self) -> str:
        """Beginning of the names of what stands behind it."""
        return f"{self.name}_"


@dataclass(frozen=True)
class Gate:
    """Squeeze-and-excitation (Hu et al. 2018): x times a 0..1 factor per channel, from x's channel means.

    Attributes:
      squeeze: channels between the two 1x1 convolutions, which have no biases.
      name: beginning of its layers' names.
    """

    squeeze: int
    name: str = "se"


@dataclass(frozen=True)
class Pool:
    """Max-pool over k x k. (B,h,w,c) -> (B,h/s,w/s,c)."""

    k: int
    s: int
    name: str = "pool"


@dataclass(frozen=True)
class Upsample:
    """Every cell s x s times. (B,h,w,c) -> (B,h*s,w*s,c)."""

    s: int
    name: str = "up"


@dataclass(frozen=True)
class Concat:
    """The channels of all that the row reads side by side, in the order of `src`; only as the first of a block."""

    name: str = "concat"


@dataclass(frozen=True)
class Skip:
    """Adds what the block reads; the convolution whose width is the row's `out` then writes the channels it read."""

    name: str = "add"


Primitive = Conv | Depthwise | Gate | Pool | Upsample | Concat | Skip
Block = tuple[Primitive, ...]
