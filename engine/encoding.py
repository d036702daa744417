"""How videos are encoded: which codecs there are, what each container takes, and how good the picture is to be."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from engine.chroma import Siting
from engine.errors import EngineError
from engine.video import CONTAINERS, VideoInfo

if TYPE_CHECKING:
    from av.video.codeccontext import VideoCodecContext

_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER: parameter sets stand in the container, as all of ours want them


HIGHEST_RATE = Fraction(240)
"""Frames a second that SVT-AV1 takes. By the rate encoders plan, no more: every frame has its time."""


@dataclass(frozen=True)
class Codec:
    """A codec by the name that ``--codec`` takes."""

    name: str
    encoder: str
    """FFmpeg's."""
    stream: str
    """FFmpeg's name for what is written."""
    crf: int
    """By default: hardly told from the frames that were encoded."""
    worst: int
    """The highest crf; the best is 0."""
    options: Mapping[str, str]
    odd: str = "yuv444p"
    """The pixels of a picture with an odd side; empty where the encoder takes none."""
    least: int = 1
    """The shortest side that the encoder takes."""
    siting: Siting = "center"
    """Where FFmpeg's decoder takes colour samples to be: the standards of MPEG mean the left unless a stream says otherwise."""
    shapes: bool = True
    """What is encoded says which shape its pixels have; of others it is the container's to say."""
    repeats: bool = True
    """The same frames always give the same bytes."""


CODECS = {
    codec.name: codec
    for codec in (
        # MB-tree decides by memory that x264 never wrote (seen by filling what malloc gives): the same frames gave other bytes each time.
        Codec("h264", "libx264", "h264", 18, 51, {"preset": "medium", "mbtree": "0"}, siting="left"),
        # x265 gave other bytes for the same frames in one of six runs, with a single thread too.
        Codec(
            "h265",
            "libx265",
            "hevc",
            20,
            51,
            {"preset": "medium", "x265-params": "log-level=error"},
            least=16,
            siting="left",
            repeats=False,
        ),
        # cpu-used 4 encodes some three times as fast as the default 1; a bit rate of 0 leaves the rate to the crf.
        Codec(
            "vp9", "libvpx-vp9", "vp9", 30, 63, {"b": "0", "row-mt": "1", "deadline": "good", "cpu-used": "4"}, odd="yuv420p", shapes=False
        ),
        Codec("av1", "libsvtav1", "av1", 30, 63, {"preset": "8"}, odd="", shapes=False),
    )
}


@dataclass(frozen=True)
class Encoding:
    """What the user asked for; the default is H.264, and VP9 in ``.webm``."""

    codec: str | None = None
    crf: int | None = None
    """Constant quality: 0 is the best; None = the codec's default."""

    def __post_init__(self) -> None:
        if self.codec is not None and self.codec not in available():
            raise EngineError(f"videos are not encoded as {self.codec!r}", where="--codec", allowed=", ".join(available()))
        if self.codec is not None and self.crf is not None:
            _check_crf(CODECS[self.codec], self.crf)

    def encoder(self, suffix: str, info: VideoInfo | None = None) -> Encoder:
        """The encoder for files of that suffix.

        Raises:
            EngineError: Its container does not take the codec, the codec has no such crf, or cannot hold a picture of that size.
        """
        kind = CONTAINERS.get(suffix.lower())
        if kind is None:
            raise EngineError(f"videos are not written as {suffix!r}", where=suffix, allowed=", ".join(CONTAINERS))
        taken = taken_by(kind)
        codec = CODECS[self.codec or ("vp9" if kind == "webm" else "h264")]
        if codec.name not in taken:
            given = "--codec" if self.codec is not None else suffix
            raise EngineError(f"{suffix} files do not take {codec.name} here", where=given, allowed=", ".join(taken))
        crf = codec.crf if self.crf is None else self.crf
        _check_crf(codec, crf)
        if info is not None and not codec.odd and (info.width % 2 or info.height % 2):
            remedy = f"Give --size {even_size(info)}, or --codec vp9."
            raise EngineError(f"{codec.name} takes no odd sides, and this is {info.width}x{info.height}", where="--codec", remedy=remedy)
        if info is not None and min(info.width, info.height) < codec.least:
            size = f"{max(info.width, codec.least)}x{max(info.height, codec.least)}"
            what = f"{codec.name} takes no side under {codec.least} pixels, and this is {info.width}x{info.height}"
            raise EngineError(what, where="--codec", remedy=f"Give --size {size}, or --codec h264.")
        return Encoder(codec, crf, usable_cores())


@dataclass(frozen=True)
class Encoder:
    """A codec with its settings: the same frames give the same bytes, so long as the number of threads is the same."""

    codec: Codec
    crf: int
    threads: int

    def pixels(self, info: VideoInfo) -> str:
        """FFmpeg's name of the pixel format."""
        return self.codec.odd if info.width % 2 or info.height % 2 else "yuv420p"

    @property
    def options(self) -> dict[str, str]:
        """FFmpeg's."""
        return {**self.codec.options, "crf": str(self.crf)}

    def context(self, info: VideoInfo) -> VideoCodecContext:
        """A fresh encoder."""
        from av.video.codeccontext import VideoCodecContext

        context = VideoCodecContext.create(self.codec.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        context.framerate, context.options = min(info.rate, HIGHEST_RATE), self.options
        context.flags |= _GLOBAL_HEADER
        self.configure(context, info)
        with scheduling_kept():
            context.open(strict=False)
        return context

    def configure(self, context: VideoCodecContext, info: VideoInfo) -> None:
        """Tell an encoder what is going to be encoded."""
        if self.codec.name == "av1":
            os.environ.setdefault("SVT_LOG", "1")  # errors only: it writes to stderr past FFmpeg's log, and asks the environment alone
        context.width, context.height, context.pix_fmt = info.width, info.height, self.pixels(info)
        context.time_base = info.time_base
        context.bit_rate, context.thread_count = 0, self.threads
        context.colorspace, context.color_range = info.colour.matrix, 2 if info.colour.full else 1
        context.color_primaries, context.color_trc = info.colour.primaries, info.colour.transfer
        if info.aspect is not None:
            context.sample_aspect_ratio = info.aspect

    def notes(self, info: VideoInfo) -> Iterator[str]:
        """What a player may not take."""
        if self.pixels(info) == "yuv444p":
            size = f"{info.width}x{info.height} is odd, so colours are written at full resolution (yuv444p), which not every player shows"
            yield f"{size}; --size {even_size(info)} plays everywhere"

    def to_json(self) -> dict[str, Any]:
        """What decides every byte of what is encoded, but for the threads."""
        import av

        libraries = {name: ".".join(map(str, version)) for name, version in av.library_versions.items()}
        versions = {"styleengine": metadata.version("styleengine"), "av": av.__version__, **libraries}
        return {"codec": self.codec.name, "crf": self.crf, "encoder options": dict(self.codec.options), "versions": versions}


@cache
def available() -> tuple[str, ...]:
    """The codecs that this FFmpeg encodes, by our names."""
    import av

    return tuple(name for name, codec in CODECS.items() if codec.encoder in av.codecs_available)


@cache
def taken_by(kind: str) -> tuple[str, ...]:
    """Those that a container takes; ``kind`` is FFmpeg's name for it."""
    return tuple(name for name in available() if _takes(kind, CODECS[name].stream))


def _takes(kind: str, stream: str) -> bool:
    import av

    with av.open(io.BytesIO(), "w", format=kind) as container:
        if stream not in container.supported_codecs:
            return False
        # FFmpeg's list for QuickTime names what only its MP4 takes: the header of a file tells.
        added = container.add_mux_stream(stream, rate=25, width=64, height=64)
        added.time_base = Fraction(1, 25)
        try:
            container.start_encoding()
        except av.ArgumentError:
            return False
        except av.InvalidDataError:  # this header lacks the parameter sets that an encoder would have given
            pass
        return True


@contextmanager
def scheduling_kept() -> Iterator[None]:
    """What opens an encoder goes inside: run by root, SVT-AV1 makes the thread that opens it a real-time one, and others starve."""
    if not hasattr(os, "sched_setscheduler"):
        yield
        return
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        yield
    finally:
        if os.sched_getscheduler(0) != policy:
            os.sched_setscheduler(0, policy, parameters)


def even_size(info: VideoInfo) -> str:
    """The nearest size with even sides, not larger, as ``--size`` takes it."""
    return f"{max(info.width // 2, 1) * 2}x{max(info.height // 2, 1) * 2}"


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_crf(codec: Codec, crf: int) -> None:
    if not 0 <= crf <= codec.worst:
        raise EngineError(f"a crf of {crf}", where="--crf", allowed=f"0 (the best) to {codec.worst} for {codec.name}")
