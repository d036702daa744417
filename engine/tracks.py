"""What a video holds beside its pictures, copied to another one: sound, subtitles, chapters, what is said of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from engine.errors import EngineError
from engine.video_reading import open_video, picture_stream

if TYPE_CHECKING:
    from av import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.subtitles.stream import SubtitleStream

_SOUND = {"webm": ("libopus", 96_000)}
"""The encoder where a container does not take the sound as it is, and bits a second of a channel; elsewhere AAC."""
_LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
_TEXT = {"mp4": "mov_text", "mov": "mov_text", "webm": "webvtt", "matroska": "subrip"}
"""The subtitles that a container takes."""
_JUMP = Fraction(1, 2)
"""Seconds that timestamps go back where they begin anew, rather than being a little out of order."""
_HIDDEN = Fraction(1, 10)
"""Seconds of sound before the start that are kept: decoders need what stands there of AAC and Opus."""
_NOT_SAID = {"encoder", "major_brand", "minor_version", "compatible_brands", "duration", "handler_name", "vendor_id"}
"""What containers say of themselves; the output says its own."""
# FFmpeg's encoders of text ask for the head of an ASS script, whatever they write.
_ASS = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, Underline, StrikeOut, \
ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


class Tracks:
    """The other tracks of a file, carried over as far as the pictures have come.

    Sound and subtitles are copied bit for bit where the container takes them, converted where it takes that, and else left out;
    the notes say which. Chapters and what is said of the file and of each track come along.

    Args:
        container: Open for writing, its pictures' stream added and nothing written yet.
        path: The file that the tracks are taken from.
        offset: Seconds that were taken off the pictures' timestamps.

    Raises:
        EngineError: The file cannot be read.
    """

    def __init__(self, container: OutputContainer, path: Path, offset: Fraction) -> None:
        self._container, self._path, self._offset = container, path, offset
        self._notes: list[str] = []
        self._last: dict[int, tuple[Fraction, Fraction]] = {}  # by stream, seconds: its latest packet began, all ended
        self._shifts: dict[int, Fraction] = {}
        self._source: InputContainer = open_video(path)
        try:
            container.metadata.update(_said(self._source.metadata))
            self._add_chapters()
            self._painted = picture_stream(self._source, path).index
            self._carriers = {stream.index: carrier for stream in self._source.streams if (carrier := self._carrier(stream)) is not None}
            wanted = [stream for stream in self._source.streams if stream.index in self._carriers]
            self._packets = self._source.demux(wanted) if wanted else iter(())
        except BaseException:
            self._source.close()
            raise
        self._next: Packet[Stream] | None = None

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not copied as it is; complete after the last packet."""
        return tuple(dict.fromkeys(self._notes))

    def copy(self, until: Fraction | None) -> None:
        """What is shown or heard up to that second of the output; all that is left with None."""
        while (packet := self._peek()) is not None:
            assert packet.dts is not None
            if until is not None and packet.dts * packet.time_base - self._offset > until:
                return
            self._next = None
            self._mux(packet.stream.index, packet)
        if until is None:
            for index in self._carriers:
                self._mux(index, None)

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()

    def _mux(self, index: int, packet: Packet[Stream] | None) -> None:
        import av

        try:
            carried = self._carriers[index].carry(packet)
        except (av.FFmpegError, EngineError) as error:
            reason = error.problem if isinstance(error, EngineError) else error.strerror
            self._notes.append(f"a part of the {self._source.streams[index].type} of the input cannot be decoded ({reason})")
            return
        for one in carried:
            try:
                self._container.mux(one)
            except (av.ArgumentError, av.InvalidDataError) as error:  # one bad packet is not worth the whole video
                self._notes.append(f"a part of the {self._source.streams[index].type} of the input cannot be written ({error.strerror})")

    def _peek(self) -> Packet[Stream] | None:
        import av

        try:
            while self._next is None and (packet := next(self._packets, None)) is not None:
                if packet.size and not self._is_hidden(packet):  # without data it marks the end of a stream
                    self._keep_going(packet)
                    self._next = packet
        except av.FFmpegError as error:
            self._notes.append(f"the audio of the input breaks off ({error.strerror})")
            self._packets = iter(())
        return self._next

    def _is_hidden(self, packet: Packet[Stream]) -> bool:
        # MP4 cuts with an edit list, and keeps what was cut away; Matroska has none, and would show it all.
        if packet.pts is None or not packet.is_discard or self._container.format.name in ("mp4", "mov"):
            return False
        return packet.pts * packet.time_base < -_HIDDEN

    def _keep_going(self, packet: Packet[Stream]) -> None:
        # Where a clock begins anew, as in transport streams that were put behind each other, it goes on: no container takes it otherwise.
        index, base = packet.stream.index, packet.time_base
        before, ended = self._last.get(index, (None, Fraction(0)))
        shift = self._shifts.get(index, Fraction(0))
        if packet.dts is None:  # a cover has no time, and follows nothing
            packet.dts = packet.pts if packet.pts is not None else round((ended - shift) / base)
        begins = packet.dts * base
        if before is not None and begins + shift < before - _JUMP:
            theirs = max(self._shifts.values(), default=shift)  # of another track that has come there before: they stay in step
            shift = self._shifts[index] = theirs if theirs > shift else ended - begins
            self._notes.append(f"the clock of the {packet.stream.type} begins anew on the way; it was made to go on")
        packet.dts += round(shift / base)
        packet.pts = None if packet.pts is None else packet.pts + round(shift / base)
        begins += shift
        self._last[index] = begins, max(begins + (packet.duration or 0) * base, ended)

    def _add_chapters(self) -> None:
        chapters = self._source.chapters()
        for chapter in chapters:
            shift = round(self._offset / (chapter["time_base"] or 1))
            chapter["start"], chapter["end"] = max(chapter["start"] - shift, 0), max(chapter["end"] - shift, 0)
        if chapters and self._container.format.name == "gif":
            self._notes.append("chapters were not copied")
        elif chapters:
            self._container.set_chapters(chapters)

    def _carrier(self, stream: Stream) -> _Carrier | None:
        from av.stream import Disposition

        kind: str = stream.type
        name = stream.codec_context.name if stream.codec_context is not None else "unknown"
        if kind == "video" and stream.index == self._painted:
            return None
        if kind == "data" and self._source.chapters() and name == "unknown":
            return None  # how MP4 stores chapters
        if kind == "video" and stream.disposition & Disposition.attached_pic:
            kind = "cover"
        if kind not in _WORDS:
            self._notes.append("only the first video was painted; others were left out" if kind == "video" else f"{kind} was not copied")
            return None
        if kind == "cover" and self._container.format.name == "matroska":
            self._attach(stream, name)
            return None
        if not self._takes(stream, kind, name):
            what = _WORDS[kind] if name == "unknown" else f"{name} {_WORDS[kind]}"
            return self._converter(stream, f"{self._container.format.name} takes no {what}")
        copied = self._container.add_stream_from_template(stream)
        _describe(stream, copied)
        return _Copied(copied, self._offset)

    def _attach(self, cover: Stream, name: str) -> None:
        # To Matroska a cover is a file of that name; as a stream it would be a second video of one frame.
        with open_video(self._path) as source:
            data = next((bytes(packet) for packet in source.demux(source.streams[cover.index]) if packet.size), b"")
        kind = "jpeg" if name == "mjpeg" else name
        self._container.add_attachment(f"cover.{'jpg' if kind == 'jpeg' else kind}", f"image/{kind}", data)

    def _takes(self, stream: Stream, kind: str, name: str) -> bool:
        import av

        container = self._container.format.name
        if container == "mp4" and name.startswith("pcm_"):
            return False  # hardly a player finds PCM in MP4, and FFmpeg writes not every kind of it
        if (kind, container) in (("attachment", "webm"), ("cover", "webm"), ("cover", "mov")):
            return False  # they are dropped without a word
        # Some are refused only with the header, and then the painted video with them.
        try:
            with av.open(io.BytesIO(), "w", format=container) as trial:
                trial.add_stream_from_template(stream)
                trial.start_encoding()
        except (ValueError, NotImplementedError, av.FFmpegError):
            return False
        return True

    def _converter(self, stream: Stream, problem: str) -> _Carrier | None:
        container = self._container.format.name
        carrier: _Carrier | None = None
        if stream.type == "audio":
            encoder, bits = _SOUND.get(container, ("aac", 96_000))
            carrier = _Sound.add(self._container, cast("AudioStream", stream), encoder, bits, self._offset)
        elif stream.type == "subtitle" and stream.codec_context is not None and stream.codec_context.name in _TEXTS:
            carrier = _Text.add(self._container, cast("SubtitleStream", stream), _TEXT[container], self._offset)
        if carrier is None:
            self._notes.append(f"{problem}; left out")
            return None
        _describe(stream, carrier.out)
        made = carrier.out.codec_context
        self._notes.append(f"{problem}; made {made.codec.canonical_name if made is not None else 'another'}")
        return carrier


_WORDS = {"audio": "audio", "subtitle": "subtitles", "attachment": "attachments", "cover": "cover"}
_TEXTS = ("subrip", "srt", "ass", "ssa", "mov_text", "webvtt", "text")
"""Subtitles that are text; others are pictures."""


class _Carrier(Protocol):
    """One track on its way."""

    @property
    def out(self) -> Stream:
        """Where it goes."""

    def carry(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        """What to write for a packet of the source; what is left for None."""


@dataclass
class _Copied:
    out: Stream
    offset: Fraction

    def carry(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        if packet is None:
            return []
        shift = round(self.offset / packet.time_base)
        packet.dts, packet.pts = (None if time is None else time - shift for time in (packet.dts, packet.pts))
        packet.stream = self.out
        return [packet]


@dataclass
class _Sound:
    """Sound that is decoded and encoded anew."""

    source: AudioStream
    out: AudioStream
    offset: Fraction
    resampler: AudioResampler | None = field(default=None)

    @classmethod
    def add(cls, container: OutputContainer, source: AudioStream, encoder: str, bits: int, offset: Fraction) -> _Sound | None:
        import av

        if source.codec_context is None or encoder not in av.codecs_available:
            return None
        rates = av.Codec(encoder, "w").audio_rates or [source.rate]
        rate = source.rate if source.rate in rates else min((one for one in rates if one >= source.rate), default=max(rates))
        out = cast("AudioStream", container.add_stream(encoder, rate=rate))
        # PCM does not say which channel is which; FFmpeg downmixes what has more than the usual ones.
        channels = source.layout.nb_channels
        out.layout = _LAYOUTS.get(channels, "stereo")
        out.bit_rate = bits * out.layout.nb_channels
        return cls(source, out, offset)

    def carry(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        from av import AudioResampler

        carried: list[Packet[Stream]] = []
        for frame in self.source.decode(cast("Packet[AudioStream] | None", packet)):
            if self.resampler is None:  # now that the encoder is open, and says how many samples it takes at a time
                context = self.out.codec_context
                self.resampler = AudioResampler(context.format, context.layout, context.rate, context.frame_size)
            if frame.pts is not None and frame.time_base is not None:
                frame.pts -= round(self.offset / frame.time_base)
            for piece in self.resampler.resample(frame):
                carried += self.out.encode(piece)
        if packet is None and self.resampler is not None:
            for piece in self.resampler.resample(None):
                carried += self.out.encode(piece)
            carried += self.out.encode(None)
        return carried


@dataclass
class _Text:
    """Subtitles of one text format that become those of another; only what every format can say comes along."""

    source: SubtitleStream
    out: SubtitleStream
    offset: Fraction
    number: int = 0

    @classmethod
    def add(cls, container: OutputContainer, source: SubtitleStream, encoder: str, offset: Fraction) -> _Text:
        out = cast("SubtitleStream", container.add_stream(encoder))
        out.codec_context.subtitle_header = _ASS
        out.time_base = Fraction(1, 1000)
        return cls(source, out, offset)

    def carry(self, packet: Packet[Stream] | None) -> list[Packet[Stream]]:
        from av.subtitles.subtitle import AssSubtitle, SubtitleSet

        if packet is None or packet.pts is None or not packet.size:
            return []
        start = round((packet.pts * packet.time_base - self.offset) * 1000)
        length = round((packet.duration or 0) * packet.time_base * 1000)
        carried: list[Packet[Stream]] = []
        found = self.source.codec_context.decode2(cast("Packet[SubtitleStream]", packet))
        texts = [rect.dialogue for rect in found or () if isinstance(rect, AssSubtitle) and rect.dialogue]
        for text in texts:
            line = b"%d,0,Default,,0,0,0,," % self.number + text
            encoded = self.out.codec_context.encode_subtitle(SubtitleSet.create(line, 0, length, start * 1000))
            encoded.pts = encoded.dts = start
            encoded.duration, encoded.time_base, encoded.stream = length, Fraction(1, 1000), self.out
            carried.append(encoded)
            self.number += 1
        return carried


def _said(metadata: dict[str, str]) -> Iterator[tuple[str, str]]:
    return ((key, value) for key, value in metadata.items() if key.lower() not in _NOT_SAID)


def _describe(source: Stream, out: Stream) -> None:
    out.metadata.update(_said(source.metadata))
    out.disposition = source.disposition
