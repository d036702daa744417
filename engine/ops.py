"""The operators that a backend gives; networks, losses and the optimiser are written once over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

Tensor: TypeAlias = Any
"""The framework's own tensor, never wrapped. Python's arithmetic, comparison and slices work on it."""

Array: TypeAlias = NDArray[Any]
Shape: TypeAlias = tuple[int, ...]
DType: TypeAlias = str
"""``float32``, ``bfloat16``, ``float16``, ``uint8``, ``int32`` or ``bool`` (the oracle computes in ``float64``)."""

ResizeMode: TypeAlias = Literal["nearest", "bilinear"]
UpsampleMode: TypeAlias = Literal["nearest", "bilinear", "bilinear_asymmetric"]
PadMode: TypeAlias = Literal["constant", "reflect"]


class Ops(Protocol):
    """One backend's operators. Images and features are NCHW; every function is pure."""

    @property
    def name(self) -> str:
        """The framework, for messages."""

    # -- in and out

    def asarray(self, x: Array | float, dtype: DType = "float32") -> Tensor:
        """Copy a NumPy array to the backend's device as ``dtype``."""

    def to_numpy(self, x: Tensor) -> Array:
        """Copy to NumPy; waits for the device. Reduced precision comes back as float32."""

    def shape(self, x: Tensor) -> Shape:
        """The sizes of ``x``."""

    def dtype(self, x: Tensor) -> DType:
        """The element type of ``x`` by its name."""

    def cast(self, x: Tensor, dtype: DType) -> Tensor:
        """Convert the element type; ``x`` itself where it has it already. Differentiable between floats."""

    def zeros_like(self, x: Tensor) -> Tensor:
        """Zeros of the shape and type of ``x``."""

    def stop_gradient(self, x: Tensor) -> Tensor:
        """``x``, a constant for differentiation."""

    # -- one element at a time

    def abs(self, x: Tensor) -> Tensor:
        """|x|; gradient 0 at 0."""

    def square(self, x: Tensor) -> Tensor:
        """x^2."""

    def sqrt(self, x: Tensor) -> Tensor:
        """The square root; at 0 its slope is infinite, so a loss adds a small number inside."""

    def tanh(self, x: Tensor) -> Tensor:
        """The hyperbolic tangent."""

    def relu(self, x: Tensor) -> Tensor:
        """max(x, 0); gradient 0 at 0."""

    def clip(self, x: Tensor, low: float, high: float) -> Tensor:
        """``x`` limited to [low, high]."""

    def round(self, x: Tensor) -> Tensor:
        """The nearest integer, halves to the even one."""

    def isfinite(self, x: Tensor) -> Tensor:
        """Bool: neither NaN nor infinite."""

    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """``x`` where the bool ``condition`` holds, else ``y``; the three broadcast."""

    # -- reductions (``axis=None``: all)

    def sum(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The sum over ``axis``."""

    def mean(self, x: Tensor, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Tensor:
        """The mean over ``axis``."""

    # -- shape

    def reshape(self, x: Tensor, shape: Shape) -> Tensor:
        """The same elements in row-major order; one size may be -1."""

    def permute_dims(self, x: Tensor, axes: Sequence[int]) -> Tensor:
        """Axis ``axes[i]`` becomes axis ``i``."""

    def concat(self, xs: Sequence[Tensor], axis: int) -> Tensor:
        """Join along an axis that is there."""

    # -- linear algebra and images

    def matmul(self, x: Tensor, y: Tensor) -> Tensor:
        """(..., m, k) @ (..., k, n) -> (..., m, n)."""

    def conv2d(
        self, x: Tensor, weight: Tensor, bias: Tensor | None = None, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Tensor:
        """Cross-correlate (n, i, h, w) with (o, i/groups, k, k); ``padding`` zeros on every side."""

    def max_pool2d(self, x: Tensor, kernel: int, stride: int) -> Tensor:
        """The largest of each window; a rest at the right and below is left out."""

    def pad(self, x: Tensor, sides: tuple[int, int, int, int], mode: PadMode = "constant") -> Tensor:
        """Add (left, right, top, bottom) pixels: zeros, or the picture mirrored without repeating its edge."""

    def pad_to_multiple(self, x: Tensor, multiple: int) -> Tensor:
        """Mirror right and below until both sides are divisible by ``multiple``."""

    def crop_like(self, x: Tensor, like: Tensor) -> Tensor:
        """The upper left part of ``x`` with the height and width of ``like``."""

    def resize(self, x: Tensor, size: tuple[int, int], mode: ResizeMode) -> Tensor:
        """To (height, width): ``bilinear`` with half-pixel centres and no antialiasing, ``nearest`` takes floor(i * in / out)."""

    def upsample(self, x: Tensor, factor: int, mode: UpsampleMode) -> Tensor:
        """Each side times ``factor``. ``bilinear_asymmetric``: out[i] is read at i / factor, the last row and column repeated."""

    def warp(self, x: Tensor, flow: Tensor) -> Tensor:
        """W(x)(p) = x(p + flow(p)), bilinear, pixels outside count as zero. ``flow`` (n, 2, h, w): (dx, dy) in pixels.

        In pixel coordinates (floor, four gathers, two lerps), so that zero flow is the exact identity and an
        integer shift exact. Differentiable in ``x``; ``flow`` is data.
        """
