"""YUV4MPEG2, the uncompressed video that programs send each other through pipes: read and written as a stream."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from threading import Event

import numpy as np

from engine.chroma import Siting, ToRgb, ToYuv, planes
from engine.errors import EngineError
from engine.ops import Array
from engine.pipes import PipeReader, PipeWriter
from engine.sizes import LARGEST
from engine.video import VideoFrame, VideoInfo, colour_of

MAGIC = b"YUV4MPEG2"
HEADER, FRAME = 1024, 256
"""Bytes that a stream's and a frame's header may have; FFmpeg's have less than 200 and 7."""
FORMATS = {
    "420jpeg": "yuv420p",
    "420mpeg2": "yuv420p",
    "420paldv": "yuv420p",
    "420": "yuv420p",
    "411": "yuv411p",
    "422": "yuv422p",
    "444": "yuv444p",
    "mono": "gray",
}
"""The tag C, and what FFmpeg calls planes of that kind."""
_SITINGS: dict[str, Siting] = {"420mpeg2": "left", "420paldv": "topleft"}  # of chroma; elsewhere in the middle of the pixels
_SHRUNK = {"yuv420p": (2, 2), "yuv411p": (4, 1), "yuv422p": (2, 1), "yuv444p": (1, 1)}  # of chroma: width, height


@dataclass(frozen=True)
class Header:
    """A stream's first line."""

    width: int
    height: int
    rate: Fraction | None
    """Frames a second; None where it is not known (F0:0)."""
    chroma: str = "420jpeg"
    aspect: Fraction | None = None
    """Width of a pixel by its height; None = square or unknown."""
    interlace: str = "?"
    """p, t (top field first), b, m (mixed) or ?."""
    full: bool = False
    """Luma spans 0-255; FFmpeg's comment XCOLORRANGE says so."""

    @property
    def planes(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each plane; chroma is rounded up."""
        across, down = _SHRUNK.get(FORMATS[self.chroma], (0, 0))
        chroma = (-(-self.height // down), -(-self.width // across)) if across else None
        return ((self.height, self.width),) + (() if chroma is None else (chroma, chroma))

    def to_line(self) -> bytes:
        """The line without its end."""
        rate, aspect = ((x.numerator, x.denominator) if x is not None else (0, 0) for x in (self.rate, self.aspect))
        colour_range = "FULL" if self.full else "LIMITED"
        tags = f"W{self.width} H{self.height} F{rate[0]}:{rate[1]} I{self.interlace} A{aspect[0]}:{aspect[1]} C{self.chroma}"
        return MAGIC + f" {tags} XCOLORRANGE={colour_range}".encode()


def parse_header(line: bytes, where: str) -> Header:
    """Read the first line, without its end.

    Raises:
        EngineError: It is not YUV4MPEG2, a tag is not understood, the size is missing or absurd, or the samples are not 8 bits of Y'CbCr.
    """

    def fault(problem: str, allowed: str = "", remedy: str = "") -> EngineError:
        return EngineError(f"the y4m header {problem}", where=where, allowed=allowed, remedy=remedy)

    words = line.decode("latin-1").split(" ")
    if words[0] != MAGIC.decode():
        raise fault(f"does not begin with {MAGIC.decode()}")
    tags = {word[0]: word[1:] for word in words[1:] if word and word[0] != "X"}
    sides = []
    for tag, name in (("W", "width"), ("H", "height")):
        value = tags.get(tag, "")
        if not re.fullmatch("[0-9]{1,9}", value) or not 1 <= int(value) <= LARGEST:
            raise fault(f"gives the {name} {value!r}", allowed=f"1 to {LARGEST}")
        sides.append(int(value))
    ratios: dict[str, Fraction | None] = {}
    for tag, name in (("F", "frame rate"), ("A", "pixel aspect")):
        found = re.fullmatch("([0-9]{1,9}):([0-9]{1,9})", tags.get(tag, "0:0"))
        if found is None or (found[1].strip("0") == "") != (found[2].strip("0") == ""):
            raise fault(f"gives the {name} {tags[tag]!r}", allowed="two numbers such as 30000:1001, or 0:0 for unknown")
        ratios[tag] = Fraction(int(found[1]), int(found[2])) if int(found[2]) else None
    chroma = tags.get("C", "420jpeg")
    if chroma not in FORMATS:
        remedy = "Send 8 bits without alpha: `ffmpeg ... -pix_fmt yuv420p -f yuv4mpegpipe -`."
        raise fault(f"gives the samples {chroma!r}", allowed=", ".join(FORMATS), remedy=remedy)
    interlace = tags.get("I", "?")
    if interlace not in ("p", "t", "b", "m", "?"):
        raise fault(f"gives the interlacing {interlace!r}", allowed="p, t, b, m, ?")
    aspect = None if ratios["A"] == 1 else ratios["A"]
    return Header(sides[0], sides[1], ratios["F"], chroma, aspect, interlace, "XCOLORRANGE=FULL" in words[1:])


class Y4MReader:
    """A stream's frames; see :class:`engine.media.FrameReader`. Memory does not grow with their number.

    Raises:
        EngineError: The header cannot be read, or no frame follows it.
    """

    def __init__(self, source: PipeReader, stop: Event) -> None:
        self._source, self._stop = source, stop
        line = source.read_line(HEADER, stop)
        if line is None:
            raise EngineError("this y4m stream has no header that ends", where=source.name)
        self.header = header = parse_header(line, source.name)
        self._ended_early = False
        first = self._next()
        if first is None:
            raise EngineError("this y4m stream holds no frame", where=source.name)
        self._first: bytearray | None = first
        rate = header.rate or Fraction(25)
        colour = colour_of(2, header.full, 2, 2, header.height)  # y4m names no matrix
        self.info = VideoInfo(header.width, header.height, 1 / rate, rate, colour, header.aspect)
        self._grey = header.chroma == "mono"  # FFmpeg takes every grey picture for full range
        self._pixels = "yuv444p" if self._grey else FORMATS[header.chroma]
        self._to_rgb = ToRgb(header.width, header.height, self._pixels, colour, _SITINGS.get(header.chroma, "center"))

    def __enter__(self) -> Y4MReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def frames(self) -> Iterator[VideoFrame]:
        """The frames in their order; once only.

        Raises:
            EngineError: What follows a frame is no frame.
        """
        pts, (data, self._first) = 0, (self._first, None)
        while data is not None:
            yield VideoFrame(self._rgb(data), pts, 1)
            data, pts = self._next(), pts + 1

    def notes(self) -> tuple[str, ...]:
        """What is not as it should be in the stream; complete after the last frame."""
        said = {
            "the input ends in the middle of a frame, which was left out": self._ended_early,
            "the input names no frame rate; 25 a second were taken": self.header.rate is None,
            "the input is interlaced; its frames are painted as they are": self.header.interlace in ("t", "b", "m"),
        }
        return tuple(text for text, holds in said.items() if holds)

    def _next(self) -> bytearray | None:
        if not self._source.peek(1, self._stop):
            return None
        line = self._source.read_line(FRAME, self._stop)
        if line is None and len(start := self._source.peek(FRAME, self._stop)) < FRAME and (start[:5] == b"FRAME"[: len(start)]):
            self._ended_early = True
            return None
        if line is None or line.split(b" ")[0] != b"FRAME":
            raise EngineError("no frame begins where one should in this y4m stream", where=self._source.name)
        size = sum(height * width for height, width in self.header.planes)
        data = self._source.read(size, self._stop)
        if len(data) < size:
            self._ended_early = True
            return None
        return data

    def _rgb(self, data: bytearray) -> Array:
        import av

        frame = av.VideoFrame(self.header.width, self.header.height, self._pixels)
        filled = list(planes(frame))
        for rows in filled[1:] if self._grey else ():
            rows[:] = 128
        start = 0
        for rows, (height, width) in zip(filled, self.header.planes, strict=not self._grey):
            rows[:] = np.frombuffer(data, np.uint8, height * width, start).reshape(height, width)
            start += height * width
        return self._to_rgb(frame)


class Y4MWriter:
    """A stream of frames; see :class:`engine.media.FrameWriter`. 4:2:0, or 4:4:4 where a side is odd; limited range."""

    def __init__(self, target: PipeWriter, info: VideoInfo, notes: tuple[str, ...] = ()) -> None:
        self.written = 0
        """Frames so far."""
        self._target, self._info, self._notes = target, info, notes
        chroma = "444" if info.width % 2 or info.height % 2 else "420jpeg"
        # Whoever reads it knows no matrix either and guesses as we do; few heed the comment that says full range.
        colour = colour_of(2, False, 2, 2, info.height)
        self._header = Header(info.width, info.height, info.rate, chroma, info.aspect or Fraction(1), "p")
        self._to_yuv = ToYuv(info.width, info.height, FORMATS[chroma], colour, "center")
        self._begin: int | None = None
        self._moved = Fraction(0)
        target.write(self._header.to_line() + b"\n")

    @property
    def notes(self) -> tuple[str, ...]:
        """What the stream could not keep; complete after the last frame."""
        if self._moved * self._info.rate < 1:
            return self._notes
        return (
            *self._notes,
            f"y4m has one frame rate, so frames are shown up to {float(self._moved):.2f} s earlier or later than in the input",
        )

    def write(self, frame: VideoFrame) -> None:
        """Send one frame."""
        self._begin = frame.pts if self._begin is None else self._begin
        late = (frame.pts - self._begin) * self._info.time_base - self.written / self._info.rate
        self._moved = max(self._moved, abs(late))
        self._target.write(b"FRAME\n" + b"".join(rows.tobytes() for rows in planes(self._to_yuv(frame.image))))
        self.written += 1
