"""RGB to the Y'CbCr that encoders take and back, each colour sample where it belongs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

import numpy as np

from engine.ops import Array
from engine.video import Colour

if TYPE_CHECKING:
    import av
    from av.filter import Graph

Siting: TypeAlias = Literal["left", "center", "topleft"]
"""Where a colour sample that four pixels share lies: between the two on the left, between all four, or on the first. FFmpeg's names."""
_MATRICES = {"ITU709": "bt709", "FCC": "fcc", "ITU601": "smpte170m", "SMPTE240M": "smpte240m", "BT2020": "bt2020nc"}
_LOW, _CODES = 16, (219, 224, 224)  # limited range, ITU-R BT.601: from black to white, and from one end of a colour to the other


class ToYuv:
    """RGB to Y'CbCr of 8 bits, within one code of the formula where no colour sample is shared; one for all frames of a video.

    swscale gives full range half a code too little of both colours, which tints a picture a little more each time it is written. So
    full range is made of its limited range in 16 bits, which is exact.

    Args:
        width: Of the pictures.
        height: Of the pictures.
        pixels: ``yuv420p`` or ``yuv444p``; with odd sides colour is rounded up.
        colour: Matrix and range.
        siting: Where a shared colour sample is taken.
    """

    def __init__(self, width: int, height: int, pixels: str, colour: Colour, siting: Siting) -> None:

        self._pixels, self._full = pixels, colour.full
        matrix = f"in_range=full:out_range=limited:out_color_matrix={_MATRICES[colour.conversion]}:out_chroma_loc={siting}"
        # Without accurate rounding swscale darkens a picture by one grey level on average.
        scaling = f"flags=bicubic+accurate_rnd+full_chroma_inp:{matrix}"
        self._graph = _graph(width, height, "rgb24", scaling, f"{pixels}16le" if colour.full else pixels)

    def __call__(self, image: Array) -> av.VideoFrame:
        """Convert a picture, uint8 RGB (h, w, 3)."""
        import av

        self._graph.push(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"))
        frame = cast("av.VideoFrame", self._graph.pull())
        return self._stretched(frame) if self._full else frame

    def _stretched(self, limited: av.VideoFrame) -> av.VideoFrame:
        import av
        import cv2

        full = av.VideoFrame(limited.width, limited.height, self._pixels)
        full.color_range, full.colorspace = 2, limited.colorspace
        for k, (codes, rows) in enumerate(zip(planes(limited, np.uint16), planes(full), strict=True)):
            share = 255 / (256 * _CODES[k])
            least = 256 * _LOW if k == 0 else 256 * 128 - 128 / share
            # What interpolation overshoots below 0 must not come back as its absolute value.
            above = np.maximum(codes, np.uint16(math.ceil(least)))
            rows[:] = cv2.convertScaleAbs(above, alpha=share, beta=-least * share)
        return full


class ToRgb:
    """Y'CbCr of 8 bits to RGB; one for all frames of a video. Shared colour samples are interpolated linearly.

    Args:
        width: Of the pictures.
        height: Of the pictures.
        pixels: FFmpeg's name of the pixel format.
        colour: Matrix and range.
        siting: Where a shared colour sample lies.
    """

    def __init__(self, width: int, height: int, pixels: str, colour: Colour, siting: Siting) -> None:
        ranges = f"in_range={'full' if colour.full else 'limited'}:out_range=full"
        matrix = f"{ranges}:in_color_matrix={_MATRICES[colour.conversion]}:in_chroma_loc={siting}"
        self._graph = _graph(width, height, pixels, f"flags=bilinear+accurate_rnd+full_chroma_int:{matrix}", "rgb24")

    def __call__(self, frame: av.VideoFrame) -> Array:
        """The picture of a frame, uint8 RGB (h, w, 3)."""
        self._graph.push(frame)
        return cast("av.VideoFrame", self._graph.pull()).to_ndarray()


def _graph(width: int, height: int, taken: str, scaling: str, made: str) -> Graph:
    import av
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat(taken), time_base=Fraction(1))
    scale, wanted, sink = graph.add("scale", scaling), graph.add("format", f"pix_fmts={made}"), graph.add("buffersink")
    source.link_to(scale)
    scale.link_to(wanted)
    wanted.link_to(sink)
    graph.configure()
    return graph


def planes(frame: av.VideoFrame, kind: type[np.uint8] | type[np.uint16] = np.uint8) -> Iterator[Array]:
    """The planes of a frame (h, w) as they lie in its memory, of samples of ``kind``."""
    for plane in frame.planes:
        rows = np.frombuffer(cast("bytearray", plane), kind).reshape(-1, plane.line_size // np.dtype(kind).itemsize)
        yield rows[: plane.height, : plane.width]
