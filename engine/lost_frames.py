"""Which packets of a video gave no frame, and when their frames would have been shown."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import av
    from av.packet import Packet
    from av.video.stream import VideoStream


class Watch(Protocol):
    """Sees what a decoder is given and what it gives."""

    def give(self, packet: Packet[VideoStream]) -> None:
        """A packet that the decoder is about to be given."""

    def take(self, frame: av.VideoFrame) -> list[int]:
        """Timestamps of the frames that are missing before this one, in ticks."""

    def rest(self) -> list[int]:
        """Those that are missing after the last one."""


class ByTimestamps:
    """What came before a frame by its timestamp and was not shown is lost.

    Where timestamps begin anew on the way, as in transport streams that were put behind each other, those that lie before the frame
    shown last are of frames to come.

    Args:
        length: Ticks of a frame.
    """

    def __init__(self, length: int) -> None:
        self._length = length
        self._waiting: set[int] = set()
        self._last: int | None = None

    def give(self, packet: Packet[VideoStream]) -> None:
        """See :class:`Watch`."""
        if packet.pts is not None and not packet.is_discard:
            self._waiting.add(packet.pts)

    def take(self, frame: av.VideoFrame) -> list[int]:
        """See :class:`Watch`."""
        if frame.pts is None:
            return []
        before = sorted(pts for pts in self._waiting if pts < frame.pts and (self._last is None or self._last < pts))
        self._waiting.difference_update(before, (frame.pts,))
        self._last = frame.pts
        # Of interlaced video each field may be a packet of its own, and both become one frame.
        nearest = 3 * self._length // 4 if frame.interlaced_frame else 0
        return [pts for pts in before if frame.pts - pts > nearest]

    def rest(self) -> list[int]:
        """See :class:`Watch`."""
        return sorted(self._waiting)


class ByOrder:
    """For AVI, which holds no timestamps, only a place for every frame: those that FFmpeg makes up for H.264 are out of order.

    Frames take the places of the packets one after another. A decoder tells with each frame which packet it was given at that moment; of
    a packet that it skips, the frame is lost, or one as many places away as the decoder waits for.
    """

    def __init__(self) -> None:
        self._places: deque[int] = deque()
        self._given: deque[int] = deque()  # since the packet that the last frame came with
        self._last: int | None = None

    def give(self, packet: Packet[VideoStream]) -> None:
        """See :class:`Watch`."""
        if packet.dts is not None:
            self._places.append(packet.dts)
            self._given.append(packet.dts)

    def take(self, frame: av.VideoFrame) -> list[int]:
        """See :class:`Watch`; the frame gets its place as timestamp."""
        skipped = 0
        while frame.dts is not None and self._given and self._given[0] <= frame.dts:
            passed = self._given.popleft()
            skipped += self._last is not None and self._last < passed < frame.dts
        self._last = frame.dts
        gone = [self._places.popleft() for _ in range(min(skipped, len(self._places)))]
        frame.pts = self._places.popleft() if self._places else None
        return gone

    def rest(self) -> list[int]:
        """See :class:`Watch`."""
        return list(self._places)
