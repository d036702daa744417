"""RGB frames to a video file with the clock, the colours and the other tracks of the video that they came from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, cast

from engine.chroma import ToYuv
from engine.encoding import HIGHEST_RATE, Encoder, Encoding, scheduling_kept
from engine.errors import RunError
from engine.files import check_writable, replacing
from engine.segments import Continuation, Piece, Segments
from engine.tracks import Tracks
from engine.video import CONTAINERS, UPRIGHT, VideoFrame, VideoInfo

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream


@contextmanager
def writing_video(
    path: Path,
    info: VideoInfo,
    sound: Path | None = None,
    encoding: Encoding | None = None,
    continuation: Continuation | None = None,
    stop: Event | None = None,
) -> Iterator[VideoWriter]:
    """A writer whose file appears under ``path`` when everything is in it, and not at all on an error.

    Args:
        path: Its suffix says which container.
        info: What the frames have in common.
        sound: A file whose other tracks are copied.
        encoding: The codec and its quality; by default what the container is mostly used with.
        continuation: Whether whole segments of an earlier run are taken over, and what is kept of this one if it ends early.
        stop: Set where the writer should give up, with a ``KeyboardInterrupt``.

    Raises:
        EngineError: The suffix or the codec does not fit, the folder cannot be written, or there is nothing that can be continued.
        RunError: FFmpeg cannot write on.
    """
    import av

    encoder = (encoding or Encoding()).encoder(path.suffix, info)
    whole = continuation or Continuation()
    if whole.made_with is not None:
        whole = replace(whole, made_with={**whole.made_with, **encoder.to_json()})
    if not encoder.codec.repeats:
        whole = replace(whole, made_with=None, obstacle=f"{encoder.codec.name} is not encoded to the same bytes each time")
    segments = Segments(path, whole, encoder.threads)
    check_writable(path)
    writer = VideoWriter(encoder, info, segments, whole.length)
    try:
        yield writer
        with replacing(path) as temporary:
            writer.finish(temporary, CONTAINERS[path.suffix.lower()], sound, stop or Event())
    except av.FFmpegError as error:
        raise RunError(f"FFmpeg cannot write this video ({error.strerror})", where=str(path)) from None
    finally:
        segments.abandon()
    segments.remove()


class VideoWriter:
    """Frames in, in the order in which they are shown.

    Every segment has an encoder of its own, so that it does not depend on what was encoded before; at the end their packets are copied
    into one file.
    """

    def __init__(self, encoder: Encoder, info: VideoInfo, segments: Segments, length: int) -> None:
        self.done = segments.frames
        """Frames that an earlier run encoded: the first of the video, not to be written again."""
        self.written = self.done
        """Frames so far."""
        self._encoder = replace(encoder, threads=segments.threads)
        self._notes = tuple(encoder.notes(info))
        self._info, self._segments, self._length = info.stored, segments, length
        self._to_yuv = ToYuv(self._info.width, self._info.height, encoder.pixels(self._info), self._info.colour, encoder.codec.siting)
        self._context: VideoCodecContext | None = None
        self._pieces: list[Piece] = []
        self._frames = 0  # in this segment
        self._durations: dict[int, int] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """What the output could not keep, and what was taken over; complete after the last frame."""
        return self._segments.notes + self._notes

    def write(self, frame: VideoFrame) -> None:
        """Encode one frame."""
        if self._frames == self._length:
            self._end_segment()
            self._segments.keep(self._pieces)
            self._pieces, self._frames = [], 0
        if self._context is None:
            self._context = self._encoder.context(self._info)
        picture = self._to_yuv(self._info.turn.stored(frame.image))
        picture.pts, picture.time_base = frame.pts, self._info.time_base
        self._durations[frame.pts] = frame.duration
        self._take(self._context.encode(picture))
        self._frames += 1
        self.written += 1

    def finish(self, path: Path, kind: str, sound: Path | None, stop: Event) -> None:
        """Encode what the encoder still holds, and put everything into one file.

        Args:
            path: The file, which is overwritten.
            kind: FFmpeg's name of its container.
            sound: A file whose other tracks are copied.
            stop: See :func:`writing_video`.
        """
        import av

        self._end_segment()
        self._segments.end(self._pieces)
        if self._info.aspect is not None and not self._encoder.codec.shapes and kind in ("webm", "matroska"):
            # Matroska could say it; PyAV has no way to tell it to.
            remedy = "give --codec h264 or .mp4" if kind == "matroska" else "write .mp4"
            self._notes += (
                f"{path.suffix} with {self._encoder.codec.name} has square pixels, so it is shown in other proportions; {remedy}",
            )
        # By default an edit list counts in milliseconds, which cuts a clip of 29.97 frames a second short.
        clock = {"movie_timescale": str(self._info.time_base.denominator)} if kind in ("mp4", "mov") else {}
        options = {"movflags": "+faststart", **clock} if clock else {}
        with av.open(f"file:{path}", "w", format=kind, options=options) as container:
            rate = min(self._info.rate, HIGHEST_RATE)
            added = container.add_stream(self._encoder.codec.encoder, rate=rate, options=self._encoder.options)
            stream = cast("VideoStream", added)
            stream.time_base = self._info.time_base
            self._encoder.configure(stream.codec_context, self._info)
            if self._info.turn != UPRIGHT:
                stream.set_display_rotation(*self._info.turn.rotation)
            if kind in ("mp4", "mov") and self._encoder.codec.name == "h265":
                stream.codec_tag = "hvc1"  # with FFmpeg's own hev1 Apple's players show nothing
            tracks = Tracks(container, sound, self._info.offset) if sound is not None else None
            with closing(tracks) if tracks is not None else nullcontext():
                with scheduling_kept():
                    container.start_encoding()
                for packet in _packets(self._segments.pieces(), stream, self._info.time_base):
                    if stop.is_set():
                        raise KeyboardInterrupt
                    container.mux(packet)
                    if tracks is not None and packet.dts is not None:
                        tracks.copy(packet.dts * self._info.time_base)
                if tracks is not None:
                    tracks.copy(None)
                    self._notes += tracks.notes

    def _end_segment(self) -> None:
        if self._context is not None:
            self._take(self._context.encode(None))
        self._context = None

    def _take(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            assert packet.pts is not None  # an encoder that is given timestamps gives them
            assert packet.dts is not None
            # Without its duration a packet lasts one frame of the average rate.
            self._pieces.append(Piece(bytes(packet), packet.pts, packet.dts, self._durations.pop(packet.pts, 0), packet.is_keyframe))


def _packets(pieces: Iterable[Piece], stream: VideoStream, time_base: Fraction) -> Iterator[Packet[VideoStream]]:
    import av

    last: int | None = None
    for piece in pieces:
        packet = cast("Packet[VideoStream]", av.Packet(piece.data))
        # Where the rate varies, an encoder's first guesses at decoding times may lie before the last ones of the encoder before it.
        last = piece.dts if last is None else max(piece.dts, last + 1)
        packet.pts, packet.dts, packet.duration, packet.time_base = piece.pts, last, piece.duration, time_base
        packet.is_keyframe, packet.stream = piece.key, stream
        yield packet
