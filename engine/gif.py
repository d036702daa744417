"""Animated GIFs: their delays, loops and palettes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.errors import RunError
from engine.files import replacing
from engine.video import VideoFrame, VideoInfo
from engine.video_reading import VideoReader, open_video

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.filter import Graph
    from av.packet import Packet
    from av.video.stream import VideoStream

SHORTEST, LONGEST = 2, 65535
"""Hundredths of a second that a frame is shown: browsers take less than 2 for 10, and the format has 16 bits."""


class GifReader(VideoReader):
    """A GIF's frames; FFmpeg paints white what they leave transparent, and shows 10 hundredths of a second where less than 2 are given."""

    def __init__(self, path: Path) -> None:
        white = _begins_transparent(path)
        super().__init__(path)
        self._white, self._transparent = white, False

    def notes(self) -> tuple[str, ...]:
        """What is not as it should be in the file; complete after the last frame."""
        return (*super().notes(), *(("its transparent parts were painted as white",) if self._white else ()))


def _begins_transparent(path: Path) -> bool:
    import av

    with open_video(path) as container:
        try:
            first = next(container.decode(video=0), None)
        except (av.FFmpegError, IndexError):  # no video, or damaged: the reader itself says which
            return False
        return first is not None and bool(first.to_ndarray(format="rgba")[..., 3].min() < 255)


def loops_of(path: Path) -> int | None:
    """How often a GIF is shown again, 0 = for ever; None where it does not say, which is once.

    The application extension NETSCAPE2.0 stands before the first picture, in what follows the GIF89a header (CompuServe 1990, 17 to 26).
    """
    with path.open("rb") as file:
        head = file.read(13)
        if len(head) == 13 and head[10] & 0x80:
            file.seek(3 * 2 ** ((head[10] & 7) + 1), 1)  # the global palette
        while file.read(1) == b"!":
            blocks = [file.read(1)]  # its label, then sub-blocks to an empty one
            while size := int.from_bytes(file.read(1), "little"):
                blocks.append(file.read(size))
            if blocks[:2] == [b"\xff", b"NETSCAPE2.0"] and len(blocks) > 2 and blocks[2][:1] == b"\x01" and len(blocks[2]) == 3:
                return int.from_bytes(blocks[2][1:], "little")
    return None


@contextmanager
def writing_gif(path: Path, info: VideoInfo, loops: int | None = 0, notes: Sequence[str] = ()) -> Iterator[GifWriter]:
    """A writer whose file appears under ``path`` when everything is in it, and not at all on an error.

    Args:
        path: Where.
        info: What the frames have in common.
        loops: As from :func:`loops_of`.
        notes: What else is to be said.

    Raises:
        EngineError: The folder cannot be written.
        RunError: FFmpeg cannot write on.
    """
    import av

    options = {"loop": str(-1 if loops is None else loops)}
    with replacing(path) as temporary:
        try:
            with av.open(f"file:{temporary}", "w", format="gif", options=options) as container:
                writer = GifWriter(container, info, notes)
                yield writer
                writer.finish()
        except av.FFmpegError as error:
            raise RunError(f"FFmpeg cannot write this GIF ({error.strerror})", where=str(path)) from None


class GifWriter:
    """Frames in, in the order in which they are shown; each has a palette of its own, so memory does not grow with their number."""

    def __init__(self, container: OutputContainer, info: VideoInfo, notes: Sequence[str]) -> None:
        self.written = 0
        """Frames so far."""
        self._container, self._info, self._said = container, info, tuple(notes)
        self._begin: int | None = None
        self._clock = self._rounded = 0
        self._late = Fraction(0)
        self._delays: dict[int, int] = {}
        self._graph = _palette_graph(info.width, info.height)
        stream = container.add_stream("gif", rate=100)
        stream.width, stream.height, stream.pix_fmt = info.width, info.height, "pal8"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 100)
        self._stream = stream

    @property
    def notes(self) -> tuple[str, ...]:
        """What the format could not hold; complete after the last frame."""
        said = list(self._said)
        if self._rounded:
            said.append(f"GIF counts hundredths of a second, so {self._rounded} of {self.written} delays were rounded")
        if abs(self._late) >= 1:
            change = f"{abs(float(self._late)) / 100:.2f} s {'later' if self._late > 0 else 'earlier'}"
            said.append(f"GIF shows a frame for {SHORTEST} to {LONGEST} hundredths of a second, so it ends {change}")
        if self._info.aspect is not None:
            said.append("GIF has square pixels only, so it is shown in other proportions")
        return tuple(said)

    def write(self, frame: VideoFrame) -> None:
        """Encode one frame."""
        import av

        self._begin = frame.pts if self._begin is None else self._begin
        tick = 100 * self._info.time_base
        ends = (frame.pts + frame.duration - self._begin) * tick
        delay = min(max(round(ends) - self._clock, SHORTEST), LONGEST)
        self._rounded += delay != frame.duration * tick
        self._delays[self._clock] = delay
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame.image), format="rgb24")
        picture.pts, picture.time_base = self._clock, Fraction(1, 100)
        self._graph.push(picture)
        painted = self._graph.pull()
        assert isinstance(painted, av.VideoFrame)
        self._mux(self._stream.encode(painted))
        self._clock += delay
        self._late = self._clock - ends
        self.written += 1

    def finish(self) -> None:
        """Encode what the encoder still holds."""
        self._mux(self._stream.encode(None))

    def _mux(self, packets: list[Packet[VideoStream]]) -> None:
        for packet in packets:
            if packet.pts is not None:
                packet.duration = self._delays.pop(packet.pts, 0)
            self._container.mux(packet)


def _palette_graph(width: int, height: int) -> Graph:
    """RGB to the best 255 colours of each frame, with the error spread to where it is not seen as bands."""
    import av
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(width=width, height=height, format=av.VideoFormat("rgb24"), time_base=Fraction(1, 100))
    split, chosen = graph.add("split"), graph.add("palettegen", "stats_mode=single")
    used, sink = graph.add("paletteuse", "new=1:dither=sierra2_4a"), graph.add("buffersink")
    source.link_to(split)
    split.link_to(used, 0, 0)
    split.link_to(chosen, 1, 0)
    chosen.link_to(used, 0, 1)
    used.link_to(sink)
    graph.configure()
    return graph
