"""What OpenVINO 2026.4 computes wrongly: tests of the backend contract that fail because of it, with the reason."""

from __future__ import annotations

CUTS_OFF = "OpenVINO 2026.4 cuts constants off that it converts to bfloat16 where it should round them"
KNOWN = {"test_operator[cast to bfloat16]": CUTS_OFF}
"""By test and case."""
