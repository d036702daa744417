"""What a picture file says beside its pixels: how it is to be turned, and the colour profile that its values belong to."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

MOST = 2**24
"""Bytes of a colour profile; published ones have less than four million."""

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TIFF = b"II*\0", b"MM\0*"
_ICC = b"ICC_PROFILE\0"
_PROFILE_TAG = 34675  # of TIFF
_PIECE = 65519  # of a profile in one JPEG segment: 65533 less its mark and two counters


@dataclass(frozen=True)
class PictureMetadata:
    """What was found; every part of it may be absent or damaged, which is no error."""

    orientation: int = 1
    """As in EXIF 2.32, 4.6.5: 1 to 8, 1 = upright."""
    profile: bytes | None = None
    """ICC.1:2022."""
    channels: int | None = None
    """Of a JPEG."""
    alpha: int | None = None
    """Of a TIFF, its ExtraSamples (TIFF 6.0, page 31): 1 = the colours are multiplied by it, 2 = they are not, None = not said."""


def read_metadata(data: bytes) -> PictureMetadata:
    """Look through a PNG, JPEG, WebP or TIFF file; an empty answer for anything else."""
    if data.startswith(_PNG):
        chunks = dict(_png_chunks(data))
        return PictureMetadata(_exif_orientation(chunks.get(b"eXIf", b"")), _inflated(chunks.get(b"iCCP", b"")))
    if data.startswith(_JPEG):
        return _from_jpeg(data)
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        chunks = dict(_riff_chunks(data))
        exif = chunks.get(b"EXIF", b"")
        return PictureMetadata(_exif_orientation(exif.removeprefix(b"Exif\0\0")), chunks.get(b"ICCP"))
    if data[:4] in _TIFF:
        return PictureMetadata(_exif_orientation(data), _tiff_profile(data), alpha=_tiff_short(data, 338))
    return PictureMetadata()


def with_profile(data: bytes, profile: bytes) -> bytes | None:
    """A PNG, JPEG, WebP or TIFF file that was written without a colour profile, with one; None for other formats, or one too long."""
    if data.startswith(_PNG):
        body = b"ICC profile\0\0" + zlib.compress(profile, 9)
        head = 8 + 25  # IHDR comes first
        return data[:head] + struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(b"iCCP" + body)) + data[head:]
    if data.startswith(_JPEG):
        pieces = [profile[start : start + _PIECE] for start in range(0, len(profile), _PIECE)]
        if len(pieces) > 255:
            return None
        segments = (_ICC + bytes([k, len(pieces)]) + piece for k, piece in enumerate(pieces, 1))
        packed = b"".join(b"\xff\xe2" + struct.pack(">H", len(segment) + 2) + segment for segment in segments)
        head = 2 + (2 + struct.unpack(">H", data[4:6])[0] if data[2:4] == b"\xff\xe0" else 0)  # JFIF's segment stays first
        return data[:head] + packed + data[head:]
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return _webp_with_profile(data, profile)
    if data[:4] in _TIFF:
        return _tiff_with_profile(data, profile)
    return None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 8
    while at + 12 <= len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        if kind in (b"iCCP", b"eXIf"):
            yield kind, data[at + 8 : at + 8 + size]
        at += 12 + size


def _inflated(chunk: bytes) -> bytes | None:
    name, end, packed = chunk.partition(b"\0")
    if not end or len(name) > 79 or packed[:1] != b"\0":
        return None
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(packed[1:], MOST)
    except zlib.error:
        return None
    return profile if unpack.eof and profile else None


def _from_jpeg(data: bytes) -> PictureMetadata:
    orientation, channels = 1, None
    pieces: dict[int, bytes] = {}
    count = 0
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, size = data[at + 1], struct.unpack(">H", data[at + 2 : at + 4])[0]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xDA:  # the pixels begin
            break
        body = data[at + 4 : at + 2 + size]
        if marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = _exif_orientation(body[6:])
        elif marker == 0xE2 and body.startswith(_ICC) and len(body) > 14:
            pieces[body[12]], count = body[14:], body[13]
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) > 5:
            channels = body[5]
        at += 2 + size
    whole = sorted(pieces) == list(range(1, count + 1)) and count > 0
    return PictureMetadata(orientation, b"".join(pieces[k] for k in sorted(pieces)) if whole else None, channels)


def _riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        kind, size = struct.unpack("<4sI", data[at : at + 8])
        yield kind, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def _webp_with_profile(data: bytes, profile: bytes) -> bytes | None:
    chunks = list(_riff_chunks(data))
    kind, first = chunks[0]
    if kind == b"VP8X":
        flags, canvas, rest = first[0], first[4:10], chunks[1:]
    else:
        if kind == b"VP8L":  # 14 bits each of width - 1 and height - 1, then whether there is alpha
            bits = int.from_bytes(first[1:5], "little")
            width, height, flags = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, (bits >> 28 & 1) << 4
        else:
            width, height = (side & 0x3FFF for side in struct.unpack("<HH", first[6:10]))
            flags = 0
        canvas, rest = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little"), chunks
    head = (b"VP8X", bytes([flags | 0x20, 0, 0, 0]) + canvas)
    kept = [chunk for chunk in rest if chunk[0] != b"ICCP"]
    packed = b"".join(
        name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in [head, (b"ICCP", profile), *kept]
    )
    return b"RIFF" + struct.pack("<I", len(packed) + 4) + b"WEBP" + packed


def _tiff_with_profile(data: bytes, profile: bytes) -> bytes:
    """With a first directory that names the profile, behind the old one and the pixels."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[at : at + 2])
    after = at + 2 + 12 * count
    body = data[8:] + bytes(len(data) % 2)
    entries = [data[start : start + 12] for start in range(at + 2, after, 12)]
    entries.append(struct.pack(order + "HHII", _PROFILE_TAG, 7, len(profile), 8 + len(body)))
    entries.sort(key=lambda entry: struct.unpack(order + "H", entry[:2]))
    body += profile + bytes(len(profile) % 2)
    directory = struct.pack(order + "H", count + 1) + b"".join(entries) + data[after : after + 4]
    return data[:4] + struct.pack(order + "I", 8 + len(body)) + body + directory


def _ifd(tiff: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Tag, type, count and the four bytes of value or offset of each entry of the first directory."""
    order = "<" if tiff[:2] == b"II" else ">"
    if len(tiff) < 8:
        return
    (at,) = struct.unpack(order + "I", tiff[4:8])
    (count,) = struct.unpack(order + "H", tiff[at : at + 2]) if at + 2 <= len(tiff) else (0,)
    for start in range(at + 2, min(at + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, values = struct.unpack(order + "HHI", tiff[start : start + 8])
        yield tag, kind, values, tiff[start + 8 : start + 12]


def _tiff_short(tiff: bytes, wanted: int) -> int | None:
    """The value of a tag that holds one number of 16 bits."""
    order = "<" if tiff[:2] == b"II" else ">"
    for tag, kind, count, value in _ifd(tiff):
        if (tag, kind, count) == (wanted, 3, 1):
            return int(struct.unpack(order + "H", value[:2])[0])
    return None


def _exif_orientation(tiff: bytes) -> int:
    orientation = _tiff_short(tiff, 0x0112)
    return orientation if orientation is not None and 1 <= orientation <= 8 else 1


def _tiff_profile(data: bytes) -> bytes | None:
    order = "<" if data[:2] == b"II" else ">"
    for tag, _, count, value in _ifd(data):
        if tag == _PROFILE_TAG:
            (at,) = struct.unpack(order + "I", value)
            return data[at : at + count] if 4 < count <= MOST and at + count <= len(data) else None
    return None
