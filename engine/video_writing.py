"""RGB frames to H.264 with the clock, the colours and the sound of the video that they came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import EngineError, RunError
from engine.files import replacing
from engine.video import CONTAINERS, VideoFrame, VideoInfo
from engine.video_reading import open_video

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.stream import VideoStream


@contextmanager
def writing_video(path: Path, info: VideoInfo, sound: Path | None = None) -> Iterator[VideoWriter]:
    """A writer whose file appears under ``path`` when everything is in it, and not at all on an error.

    H.264, crf 18; yuv420p, or yuv444p where a side is odd. The audio of the file ``sound`` is copied, packet by packet.

    Raises:
        EngineError: The suffix is unknown, or the folder cannot be written.
        RunError: FFmpeg cannot write on.
    """
    import av

    kind = CONTAINERS.get(path.suffix.lower())
    if kind is None:
        raise EngineError(f"videos are not written as {path.suffix!r}", where=str(path), allowed=", ".join(CONTAINERS))
    # By default an edit list counts in milliseconds, which cuts a clip of 29.97 frames a second short.
    options = {"movflags": "+faststart", "movie_timescale": str(info.time_base.denominator)} if kind in ("mp4", "mov") else {}
    with replacing(path) as temporary:
        try:
            with av.open(f"file:{temporary}", "w", format=kind, options=options) as container:
                writer = VideoWriter(container, info, sound)
                with closing(writer):
                    yield writer
                    writer.finish()
        except av.FFmpegError as error:
            raise RunError(f"FFmpeg cannot write this video ({error.strerror})", where=str(path)) from None


class VideoWriter:
    """Frames in, in the order in which they are shown."""

    def __init__(self, container: OutputContainer, info: VideoInfo, sound: Path | None) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self.written = 0
        """Frames so far."""
        self._notes: tuple[str, ...] = ()
        self._container, self._info = container, info
        self._reformatter = VideoReformatter()
        self._durations: dict[int, int] = {}
        odd = info.width % 2 or info.height % 2
        self._format = "yuv444p" if odd else "yuv420p"
        if odd:
            self._notes += (f"{info.width}x{info.height} is odd, so colours are written at full resolution (yuv444p)",)
        self._exact = Interpolation.BICUBIC | Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INP
        stream = container.add_stream("libx264", rate=info.rate, options={"crf": "18", "preset": "medium"})
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, self._format
        stream.time_base = stream.codec_context.time_base = info.time_base
        context = stream.codec_context
        context.colorspace, context.color_range = info.colour.matrix, 2 if info.colour.full else 1
        context.color_primaries, context.color_trc = info.colour.primaries, info.colour.transfer
        if info.aspect is not None:
            context.sample_aspect_ratio = info.aspect
        self._stream = stream
        self._sound = _Sound(container, sound, info.offset) if sound is not None else None
        container.start_encoding()

    @property
    def notes(self) -> tuple[str, ...]:
        """What the output could not keep; complete after :meth:`finish`."""
        return self._notes + (self._sound.notes if self._sound is not None else ())

    def write(self, frame: VideoFrame) -> None:
        """Encode one frame."""
        import av
        from av.video.reformatter import Colorspace

        picture = self._reformatter.reformat(
            av.VideoFrame.from_ndarray(frame.image, format="rgb24"),
            format=self._format,
            interpolation=self._exact,
            src_color_range="JPEG",
            dst_colorspace=Colorspace[self._info.colour.conversion],
            dst_color_range=self._info.colour.range,
        )
        picture.pts, picture.time_base = frame.pts, self._info.time_base
        self._durations[frame.pts] = frame.duration
        self._mux(self._stream.encode(picture))
        self.written += 1
        if self._sound is not None:
            self._sound.copy(frame.pts * self._info.time_base)

    def finish(self) -> None:
        """Encode what the encoder still holds and copy the rest of the sound."""
        self._mux(self._stream.encode(None))
        if self._sound is not None:
            self._sound.copy(None)

    def close(self) -> None:
        """Let go of the file that the sound comes from."""
        if self._sound is not None:
            self._sound.close()

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is not None:  # without its duration a packet lasts one frame of the average rate
                packet.duration = self._durations.pop(packet.pts, 0)
            self._container.mux(packet)


class _Sound:
    """The audio streams of a file, copied as far as the pictures have come."""

    def __init__(self, container: OutputContainer, path: Path, offset: Fraction) -> None:
        self._container, self._offset = container, offset
        self._source: InputContainer = open_video(path)
        self._streams: dict[int, AudioStream] = {}
        self.notes: tuple[str, ...] = ()
        for stream in self._source.streams.audio:
            try:
                copied = container.add_stream_from_template(stream)
            except ValueError:
                name = stream.codec_context.name if stream.codec_context is not None else "unknown"
                self.notes += (f"{container.format.name} takes no {name} audio, so it was dropped",)
                continue
            if language := stream.metadata.get("language"):
                copied.metadata["language"] = language
            self._streams[stream.index] = copied
        others = [kind for kind in ("subtitles", "data") if getattr(self._source.streams, kind)]
        self.notes += tuple(f"{kind} were not copied" for kind in others)
        wanted = [stream for stream in self._source.streams.audio if stream.index in self._streams]
        self._packets = self._source.demux(wanted) if wanted else iter(())
        self._next: Packet[Stream] | None = None

    def copy(self, until: Fraction | None) -> None:
        """Packets up to that second; all that are left with None."""
        while (packet := self._peek()) is not None and packet.dts is not None:
            if until is not None and packet.dts * packet.time_base - self._offset > until:
                return
            self._next = None
            shift = round(self._offset / packet.time_base)
            packet.dts, packet.pts = packet.dts - shift, None if packet.pts is None else packet.pts - shift
            packet.stream = self._streams[packet.stream.index]
            self._container.mux(packet)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _peek(self) -> Packet[Stream] | None:
        import av

        try:
            while self._next is None and (packet := next(self._packets, None)) is not None:
                if packet.dts is not None:  # None marks the end of a stream
                    self._next = packet
        except av.FFmpegError as error:
            self.notes += (f"the audio of the input breaks off ({error.strerror})",)
            self._packets = iter(())
        return self._next
