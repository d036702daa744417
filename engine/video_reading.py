"""Videos to upright RGB frames with their timestamps."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.errors import EngineError
from engine.lost_frames import ByOrder, ByTimestamps, Watch
from engine.ops import Array
from engine.sizes import resize
from engine.tone_mapping import HLG, PEAK, PQ, ToneMap, mastering_peak
from engine.video import Colour, Turn, VideoFrame, VideoInfo, colour_of

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.packet import Packet
    from av.sidedata.sidedata import SideData
    from av.video.stream import VideoStream


class VideoReader:
    """One video file, decoded once from the start; use it as a context.

    Raises:
        EngineError: The file is not there, is no video, or holds no frame that can be decoded.
    """

    def __init__(self, path: Path) -> None:
        from av.video.reformatter import VideoReformatter

        self.path = path
        self._reformatter = VideoReformatter()  # one for all frames: each new one costs milliseconds
        self._container = open_video(path)
        try:
            self._stream = picture_stream(self._container, path)
            self._stream.thread_type = "AUTO"
            self._announced = self._stream.frames  # kept, because a closed container must not be asked
            self._lost, self._damaged = _Faults(), _Faults()
            self._retimed = self._packets = self._until = self._resized = 0
            self._length = round(1 / (_rate(self._stream) * (self._stream.time_base or 1)))  # of a frame, in ticks
            # FFmpeg guesses the length of an AVI by what is there of it.
            lasts = self._announced * self._length if self._container.format.name == "avi" else self._stream.duration
            self._due = None if lasts is None else (self._stream.start_time or 0) + lasts
            self._ended_early = self._read_all = self._interlaced = False
            self._decoded = self._decode()
            self._gone, first = next(self._decoded)  # timestamps before it
            if first is None:
                raise EngineError("this video holds no frame that can be decoded", where=str(path))
            self._first = first
            self._turn, self._odd_angle = _turn_of(first)
            self._tone_map = _tone_map_of(first)
            self._transparent = _is_transparent(first)
            self.info = self._describe(first)
            """What the frames have in common."""
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def frames(self) -> Iterator[VideoFrame]:
        """The frames in the order in which they are shown; once only.

        In the place of one that cannot be decoded stands the frame before it, or after it where there is none before. One of another
        size than the first, as calls have it that were recorded over a varying line, is resized to that.
        """
        tick = 1 / (self.info.rate * self.info.time_base)  # of one frame, by the average rate
        offset = round(self.info.offset / self.info.time_base)
        last, expected = None, Fraction(0)
        held: tuple[Array, int] | None = None
        announced = 0
        for image, given, duration in self._shown():
            pts = round(expected) if given is None else given - offset
            if last is not None and pts <= last:
                pts = max(round(expected), last + 1)
            self._retimed += given is None or pts != given - offset
            expected = (expected if pts == round(expected) else Fraction(pts)) + tick
            if held is not None:
                yield VideoFrame(held[0], held[1], pts - held[1])
            last, held, announced = pts, (image, pts), duration
        if held is not None:
            yield VideoFrame(held[0], held[1], announced if announced > 0 else max(1, round(tick)))

    def _shown(self) -> Iterator[tuple[Array, int | None, int]]:
        # Picture, timestamp, duration; 0 where the file does not say.
        image = self._rgb(self._first)
        for gone, frame in chain([(self._gone, self._first)], self._decoded):
            for pts in gone:
                yield image, pts, 0
            if frame is not None:
                self._interlaced |= frame.interlaced_frame
                image = image if frame is self._first else self._rgb(frame)
                yield image, frame.pts, frame.duration or 0

    def notes(self) -> tuple[str, ...]:
        """What is not as it should be in the file; complete after the last frame."""
        said = {
            f"{self._retimed} timestamps of the input are missing or out of order; the frame rate gave them": self._retimed,
            f"{self._resized} frames of the input have another size; they were resized to that of the first": self._resized,
            "the input is interlaced; its frames are painted as they are": self._interlaced,
            "the display matrix is no quarter turn; painted as stored": self._odd_angle,
            f"{_depth(self._first)} bits a channel became 8": _depth(self._first) > 8,
            "its transparency was dropped": self._transparent,
            self._tone_map.said if self._tone_map is not None else "": self._tone_map is not None,
        }
        return (*self.damage(), *(text for text, holds in said.items() if holds))

    def damage(self) -> tuple[str, ...]:
        """What could not be read, or not whole: known of what was read so far, and whether it ends early after the last frame."""
        repeats = "it repeats" if self._lost.count == 1 else "each repeats"
        said = {
            f"{self._told(self._lost, 'cannot be decoded')}; {repeats} the frame before it": self._lost.count,
            self._told(self._damaged, "is damaged" if self._damaged.count == 1 else "are damaged"): self._damaged.count,
            "the input ends early": self._ended_early or (self._read_all and self._falls_short()),
        }
        return tuple(text for text, holds in said.items() if holds)

    def _falls_short(self) -> bool:
        if self._packets >= self._announced:
            return False
        # MP4 counts frames that it cuts away after the end too, AVI empty ones that repeat another: the clock tells.
        return self._due is None or self._until < self._due - self._length

    def _told(self, faults: _Faults, fault: str) -> str:
        what = f"{faults.count} frame{'' if faults.count == 1 else 's'} of the input {fault}"
        if faults.first is None:
            return what
        seconds = float(faults.first * self.info.time_base - self.info.offset)
        return f"{what} ({'' if faults.count == 1 else 'the first '}at {seconds:.2f} s)"

    def _decode(self) -> Iterator[tuple[list[int], av.VideoFrame | None]]:
        # Each frame with the timestamps before it that the decoder was given and gave no frame for; None after the last one.
        import av

        watch = self._watch()
        corrupt: set[int | None] = set()  # timestamps of packets that the container says are not whole
        packets = self._container.demux(self._stream)
        packet: Packet[VideoStream] | None
        while True:
            try:
                packet = next(packets, None)
            except av.FFmpegError:
                self._ended_early, packet = True, None
            if packet is not None and not packet.size:  # PyAV's own mark of the end
                continue
            if packet is not None:
                self._packets += 1
                self._until = max(self._until, (packet.pts or 0) + (packet.duration or 0))
                # VP8 keeps reference frames that are never shown in packets of their own.
                if self._stream.codec_context.name not in ("vp8", "libvpx"):
                    watch.give(packet)
                if packet.is_corrupt:
                    corrupt.add(packet.pts)
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError:
                frames = []
            for frame in frames:
                is_damaged = frame.is_corrupt or (frame.pts is not None and frame.pts in corrupt)
                gone = watch.take(frame)
                self._lost.add(gone)
                self._damaged.add([frame.pts] if is_damaged else [])
                yield gone, frame
            if packet is None:
                break
        gone, self._read_all = watch.rest(), True
        self._lost.add(gone)
        yield gone, None

    def _watch(self) -> Watch:
        if self._container.format.name == "avi" and self._stream.codec_context.name in ("h264", "hevc"):
            return ByOrder()
        return ByTimestamps(self._length)

    def _describe(self, frame: av.VideoFrame) -> VideoInfo:
        import av
        from av.format import Flags

        stream, container = self._stream, self._container
        full = frame.color_range == 2 or frame.format.name.startswith("yuvj")
        width, height = (frame.height, frame.width) if self._turn.transpose else (frame.width, frame.height)
        time_base = stream.time_base or Fraction(1, 90000)
        rate = _rate(stream)
        seconds = container.duration / av.time_base if container.duration else 0
        aspect = stream.sample_aspect_ratio or None
        starts_anywhere = Flags.ts_discont in Flags(container.format.flags)
        # Colour standards go by the lines that were stored, not by how the camera was held.
        self._colour = colour_of(frame.colorspace, full, frame.color_primaries, frame.color_trc, frame.height)
        return VideoInfo(
            width,
            height,
            time_base,
            rate,
            self._colour if self._tone_map is None else Colour(1, full=False, primaries=1, transfer=1),
            turn=self._turn,
            aspect=1 / aspect if aspect and self._turn.transpose else aspect,
            frames=self._announced or round(seconds * rate) or None,
            offset=Fraction(container.start_time or 0, av.time_base) if starts_anywhere else Fraction(0),
        )

    def _rgb(self, frame: av.VideoFrame) -> Array:
        from av.video.reformatter import Colorspace, Interpolation

        colour = self._colour
        # Without accurate rounding swscale darkens a picture by one grey level on average.
        exact = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT
        # With bilinear chroma it gets 16 bits wrong: greens of 0 and blues of twice what they are.
        exact |= Interpolation.BILINEAR if self._tone_map is None else Interpolation.BICUBIC
        if _is_rgb(frame):
            converted = self._reformatter.reformat(frame, format="rgb24")
        else:
            converted = self._reformatter.reformat(
                frame,
                format="rgb24" if self._tone_map is None else "rgb48le",
                interpolation=exact,
                src_colorspace=Colorspace[colour.conversion],
                src_color_range=colour.range,
                dst_color_range="JPEG",
            )
        image = converted.to_ndarray() if self._tone_map is None else self._tone_map(converted.to_ndarray())
        if (frame.width, frame.height) != (self._first.width, self._first.height):
            self._resized += 1
            image = resize(image, self._first.width, self._first.height)
        return self._turn.upright(image)


@dataclass
class _Faults:
    """How many there were."""

    count: int = 0
    first: int | None = None
    """When, in ticks of the file; None where it does not say."""

    def add(self, times: Sequence[int | None]) -> None:
        """A few more."""
        self.first = next((pts for pts in times if pts is not None), None) if self.first is None else self.first
        self.count += len(times)


def open_video(path: Path) -> InputContainer:
    """The file as PyAV opens it; an :class:`EngineError` where it is no media file."""
    import av

    if not path.is_file():
        raise EngineError("there is no such file", where=str(path))
    try:
        container = av.open(f"file:{path}")
    except av.FFmpegError as error:
        raise EngineError(f"this is no video that can be read ({error.strerror})", where=str(path)) from None
    if container.format.name == "tty":  # FFmpeg draws text files as a terminal would
        container.close()
        raise EngineError("this is a text file, no video", where=str(path))
    return container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream that is painted: the first that is no cover; an :class:`EngineError` where there is none."""
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise EngineError("this file holds no video that can be decoded", where=str(path))


def _rate(stream: VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.name == "pal8"


def _is_transparent(frame: av.VideoFrame) -> bool:
    if not any(component.is_alpha for component in frame.format.components):
        return False
    return bool(frame.to_ndarray(format="rgba")[..., 3].min() < 255)


def _depth(frame: av.VideoFrame) -> int:
    return 8 if frame.format.name == "pal8" else max(component.bits for component in frame.format.components)


def _tone_map_of(frame: av.VideoFrame) -> ToneMap | None:
    if frame.color_trc not in (PQ, HLG) or _is_rgb(frame):
        return None
    mastering = [bytes(data) for data in cast("Iterable[SideData]", frame.side_data) if data.type.name == "MASTERING_DISPLAY_METADATA"]
    peak = mastering_peak(mastering[0]) if mastering and frame.color_trc == PQ else None
    return ToneMap(frame.color_trc, peak or PEAK, wide=frame.color_primaries in (2, 9))


def _turn_of(frame: av.VideoFrame) -> tuple[Turn, bool]:
    # QuickTime's display matrix: x' = a x + c y, y' = b x + d y, in 16.16 fixed point, y pointing down.
    matrices = [data for data in cast("Iterable[SideData]", frame.side_data) if data.type.name == "DISPLAYMATRIX"]
    if not matrices:
        return Turn(), False
    numbers = struct.unpack("=9i", bytes(matrices[0])[:36])
    a, b, c, d = (round(numbers[i] / 65536) for i in (0, 1, 3, 4))
    if abs(a) == abs(d) == 1 and b == c == 0:
        return Turn(False, a < 0, d < 0), False
    if abs(b) == abs(c) == 1 and a == d == 0:
        return Turn(True, c < 0, b < 0), False
    return Turn(), True
