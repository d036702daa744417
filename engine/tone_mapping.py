"""HDR video to what an SDR screen shows: PQ and HLG of BT.2100 to BT.709."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from engine.ops import Array

PQ, HLG = 16, 18
"""Transfer characteristics of ITU-T H.273."""
WHITE = 203.0
"""cd/m2 of diffuse white in HDR (ITU-R BT.2408); it becomes the white of SDR."""
PEAK = 1000.0
"""cd/m2 of the brightest highlight, where the file does not say: HLG's nominal display, and that of most PQ masters."""
_STEPS = 4096
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_A, _B, _C = 0.17883277, 0.28466892, 0.55991073
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], np.float32)
_LUMINANCE_709 = np.array([0.2126, 0.7152, 0.0722], np.float32)
# ITU-R BT.2087: linear BT.2020 to linear BT.709.
_TO_709 = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], np.float32)


def pq_to_light(signal: Array) -> Array:
    """The EOTF of SMPTE ST 2084: signal 0..1 to cd/m2, 0..10,000."""
    power = np.power(signal, 1 / _M2)
    light: Array = 10_000 * np.power(np.maximum(power - _C1, 0) / (_C2 - _C3 * power), 1 / _M1)
    return light


def light_to_pq(light: Array) -> Array:
    """Its inverse."""
    power = np.power(light / 10_000, _M1)
    signal: Array = np.power((_C1 + _C2 * power) / (1 + _C3 * power), _M2)
    return signal


def hlg_to_scene(signal: Array) -> Array:
    """The inverse OETF of ARIB STD-B67: signal 0..1 to the light of the scene, 0..1."""
    scene: Array = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - _C) / _A) + _B) / 12)
    return scene


@dataclass(frozen=True)
class ToneMap:
    """What makes SDR pictures of a video's HDR ones.

    PQ is decoded by SMPTE ST 2084, HLG by ARIB STD-B67 and the OOTF of BT.2100 for a display of 1,000 cd/m2. Up to the knee light is kept,
    above it the brightest highlight becomes white by the Hermite spline of ITU-R BT.2390 (EETF), taken at the largest of R, G and B so that
    hues stay. BT.2020 becomes BT.709 by BT.2087, and BT.1886's display the signal.
    """

    transfer: int
    """PQ or HLG."""
    peak: float = PEAK
    """cd/m2 of the brightest highlight."""
    wide: bool = True
    """The primaries are those of BT.2020."""

    def __call__(self, rgb: Array) -> Array:
        """Map a picture.

        Args:
            rgb: uint16 (h, w, 3), full range: the signal R'G'B'.

        Returns:
            uint8 (h, w, 3), RGB of BT.709.
        """
        light = self._light[rgb >> 4]  # (h, w, 3), cd/m2; of HLG the scene's, 0..1
        if self.transfer == HLG:
            light *= self.peak * np.power(light @ (_LUMINANCE if self.wide else _LUMINANCE_709), np.float32(0.2))[..., None]
        largest = light.max(-1) / np.float32(self.peak)
        gain = self._gain[(np.sqrt(np.minimum(largest, 1)) * (_STEPS - 1) + 0.5).astype(np.int32)]
        light *= (gain / np.maximum(largest, 1))[..., None]
        if self.wide:
            light = light @ _TO_709.T
        display = np.sqrt(np.clip(light / np.float32(WHITE), 0, 1))
        mapped: Array = self._signal[(display * (_STEPS - 1) + 0.5).astype(np.int32)]
        return mapped

    @property
    def said(self) -> str:
        """What it does."""
        kind = "PQ" if self.transfer == PQ else "HLG"
        return f"{kind} of up to {self.peak:g} cd/m2 was tone-mapped to BT.709 ({WHITE:g} cd/m2 are white)"

    @cached_property
    def _light(self) -> Array:
        signal = np.arange(_STEPS) / (_STEPS - 1)
        light = pq_to_light(signal) if self.transfer == PQ else hlg_to_scene(signal)
        return np.asarray(light, np.float32)

    @cached_property
    def _gain(self) -> Array:
        # By the square root of the largest channel, in parts of the peak.
        light = (np.arange(_STEPS) / (_STEPS - 1)) ** 2 * self.peak
        light[0] = light[1]
        return np.asarray(self.mapped(light) / light, np.float32)

    @cached_property
    def _signal(self) -> Array:
        return np.asarray(np.rint(255 * (np.arange(_STEPS) / (_STEPS - 1)) ** (2 / 2.4)), np.uint8)

    def mapped(self, light: Array) -> Array:
        """cd/m2 of HDR to cd/m2 of SDR, with :data:`WHITE` as its brightest (BT.2390, EETF without a lift of black)."""
        if self.peak <= WHITE:
            return light
        brightest = light_to_pq(np.array(self.peak))
        signal = light_to_pq(np.minimum(light, self.peak)) / brightest  # 0..1
        white = float(light_to_pq(np.array(WHITE)) / brightest)
        knee = 1.5 * white - 0.5
        t = np.clip((signal - knee) / (1 - knee), 0, 1)
        spline = (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * white
        return pq_to_light(np.where(signal < knee, signal, spline) * brightest)


def mastering_peak(data: bytes) -> float | None:
    """cd/m2 of the display that a video was graded on, from FFmpeg's mastering display metadata; None where it does not say."""
    # AVMasteringDisplayMetadata: 8 rationals of chromaticity, the darkest and the brightest, whether there are chromaticities, luminances.
    if len(data) < 88:
        return None
    over, under, _, known = struct.unpack_from("=4i", data, 72)
    return over / under if known and under > 0 and over > 0 else None
