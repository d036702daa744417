"""Videos to upright RGB frames with their timestamps."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, cast

from engine.errors import EngineError
from engine.ops import Array
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
            self._stream = _picture_stream(self._container, path)
            self._stream.thread_type = "AUTO"
            self._announced = self._stream.frames  # kept, because a closed container must not be asked
            self._lost = self._damaged = self._retimed = self._packets = 0
            self._ended_early = self._read_all = False
            self._decoded = self._decode()
            self._gone, first = next(self._decoded)  # timestamps before it
            if first is None:
                raise EngineError("this video holds no frame that can be decoded", where=str(path))
            self._first = first
            self._turn, self._odd_angle = _turn_of(first)
            self._tone_map = _tone_map_of(first)
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

        In the place of one that cannot be decoded stands the frame before it, or after it where there is none before.

        Raises:
            EngineError: The size changes on the way.
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
                image = image if frame is self._first else self._rgb(frame)
                yield image, frame.pts, frame.duration or 0

    def notes(self) -> tuple[str, ...]:
        """What is not as it should be in the file; complete after the last frame."""
        said = {
            f"{self._retimed} timestamps of the input are missing or out of order; the frame rate gave them": self._retimed,
            "the display matrix is no quarter turn; painted as stored": self._odd_angle,
            f"{_depth(self._first)} bits a channel became 8": _depth(self._first) > 8,
            self._tone_map.said if self._tone_map is not None else "": self._tone_map is not None,
        }
        return (*self.damage(), *(text for text, holds in said.items() if holds))

    def damage(self) -> tuple[str, ...]:
        """What could not be read, or not whole: known of what was read so far, and whether it ends early after the last frame."""
        said = {
            f"{self._lost} frames of the input cannot be decoded; each repeats the frame before it": self._lost,
            f"{self._damaged} frames of the input are damaged": self._damaged,
            "the input ends early": self._ended_early or (self._read_all and self._packets < self._announced),
        }
        return tuple(text for text, holds in said.items() if holds)

    def _decode(self) -> Iterator[tuple[list[int], av.VideoFrame | None]]:
        # Each frame with the timestamps before it that the decoder was given and gave no frame for; None after the last one.
        import av

        waiting: set[int] = set()  # timestamps that went into the decoder and have not come out
        length = round(1 / (_rate(self._stream) * (self._stream.time_base or 1)))  # of a frame, in ticks
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
                # VP8 keeps reference frames that are never shown in packets of their own.
                if packet.pts is not None and not packet.is_discard and self._stream.codec_context.name not in ("vp8", "libvpx"):
                    waiting.add(packet.pts)
            try:
                frames = self._stream.decode(packet)
            except av.FFmpegError:
                frames = []
            for frame in frames:
                before = sorted(pts for pts in waiting if frame.pts is not None and pts < frame.pts)
                waiting.difference_update(before, () if frame.pts is None else (frame.pts,))
                # Of interlaced video each field may be a packet of its own, and both become one frame.
                nearest = 3 * length // 4 if frame.interlaced_frame else 0
                gone = [pts for pts in before if frame.pts is not None and frame.pts - pts > nearest]
                self._lost += len(gone)
                self._damaged += frame.is_corrupt
                yield gone, frame
            if packet is None:
                break
        self._lost, self._read_all = self._lost + len(waiting), True
        yield sorted(waiting), None

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

        if (frame.width, frame.height) != (self._first.width, self._first.height):
            was, now = f"{self._first.width}x{self._first.height}", f"{frame.width}x{frame.height}"
            raise EngineError(f"the size changes from {was} to {now} on the way", where=str(self.path))
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
        image = converted.to_ndarray()
        return self._turn.upright(image if self._tone_map is None else self._tone_map(image))


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


def _picture_stream(container: InputContainer, path: Path) -> VideoStream:
    from av.stream import Disposition

    for stream in container.streams.video:
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None:
            return stream
    raise EngineError("this file holds no video that can be decoded", where=str(path))


def _rate(stream: VideoStream) -> Fraction:
    return stream.average_rate or stream.guessed_rate or stream.base_rate or Fraction(25)


def _is_rgb(frame: av.VideoFrame) -> bool:
    return frame.format.is_rgb or frame.format.name == "pal8"


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
