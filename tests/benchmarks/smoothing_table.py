"""Prints what ``--smooth`` does to temporal error, style and sharpness on two clips: ``smoothing_table.py [STYLE] [STRENGTH]...``.

E_warp is that of Lai et al. 2018 without a root: the sum over pixels and channels of M (W(O[t - gap]) - O[t])^2 over the sum of M, images
in [0, 1], W by the flow of the input (engine.estimate_flow), M = engine.visible, mean over the frames. Style is the sum of the recipe's
style losses, with their weights, of a few frames; edges are the steepest tenth of the gradients, detail is the variance of the Laplacian.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import HOST
from media import real_clip

from engine import Array, VideoReader, estimate_flow, load_style, read_picture, resized, visible, warp
from engine.painting import paint_stream
from engine.places import shipped
from engine.smoothing import MotionTracker, Smoother
from engine.style import Style
from engine.weights import load_weights

CLIPS = {"bigbuckbunny": (640, 360, 20), "bikes": (640, 272, 31)}
"""Size and first frame: there is no cut in what is measured."""
FRAMES, SETTLED = 40, 12
"""Of a clip; measured from the frame on that is ``SETTLED`` frames in, where the recursion has its full reach."""
GAPS = {1: 2, 10: 5}
"""And how many frames apart the pairs are."""


def main() -> None:
    """Three lines a clip and strength: the input, the painting, the smoothed painting, each over the painting."""
    style = load_style(sys.argv[1]) if len(sys.argv) > 1 else load_style(shipped() / "weights/reconet_candy.safetensors")
    strengths = [float(word) for word in sys.argv[2:]] or [0.5, 1.0]
    backend = HOST.make_backend("auto", device="cpu")
    painter = backend.painter(style.network, style.weights, batch=1)
    score = style_score(style)
    print(f"{style.info.name}, {FRAMES} frames, painted by {backend.describe()}; ratios are over the painting without --smooth")
    print(f"{'':30} E_warp 1  root    ratio  E_warp 10  root    ratio   style  ratio  gradient  edges  detail  ms a frame")
    for name in CLIPS:
        frames = read(name)
        pairs = {gap: motion(frames, gap) for gap in GAPS}
        painted = list(paint_stream(painter, frames, 1))
        line(f"{name} input", frames, None, pairs, None)
        plain = line(f"{name} painted", painted, None, pairs, score)
        for strength in strengths:
            started = time.process_time()
            tracker, smoother = MotionTracker(), Smoother(strength)
            smoothed = [smoother.step(image, tracker.step(frame)) for frame, image in zip(frames, painted, strict=True)]
            took = (time.process_time() - started) / len(frames) * 1e3
            line(f"{name} --smooth {strength:g}", smoothed, plain, pairs, score, f"{took:6.0f}")


def line(
    label: str,
    video: Sequence[Array],
    plain: Array | None,
    pairs: dict[int, list[tuple[int, Array, Array]]],
    score: Callable[[Array], float] | None,
    after: str = "",
) -> Array:
    """Print a row; returns its numbers."""
    looked = video[SETTLED + 3 :: 8]
    style = float(np.mean([score(image) for image in looked])) if score is not None else np.nan
    found = np.array([*(temporal_error(video, pairs[gap], gap) for gap in GAPS), style, *np.mean([sharpness(x) for x in looked], axis=0)])
    ratio = found / plain if plain is not None else np.ones_like(found)
    errors = "   ".join(f"{found[k]:.5f} {found[k] ** 0.5:.4f}  {ratio[k]:.3f}" for k in range(2))
    print(f"{label:30} {errors}  {style:7.4f}  {ratio[2]:.3f}  {ratio[3]:.3f}     {ratio[4]:.3f}  {ratio[5]:.3f} {after}", flush=True)
    return found


def read(name: str) -> list[Array]:
    width, height, first = CLIPS[name]
    with VideoReader(real_clip(f"{name}.mp4")) as reader:
        frames = [frame.image for k, frame in enumerate(reader.frames()) if first <= k < first + FRAMES]
    return [cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA) for frame in frames]


def motion(frames: Sequence[Array], gap: int) -> list[tuple[int, Array, Array]]:
    """Index, flow and mask of the pairs that are measured."""
    found = []
    for t in range(SETTLED, len(frames), GAPS[gap]):
        flow, back = estimate_flow(frames[t], frames[t - gap]), estimate_flow(frames[t - gap], frames[t])
        found.append((t, flow, visible(flow, back)[0] > 0))
    return found


def temporal_error(video: Sequence[Array], pairs: list[tuple[int, Array, Array]], gap: int) -> float:
    unit = [image.astype(np.float32) / 255 for image in video]
    return float(np.mean([np.square(warp(unit[t - gap], flow) - unit[t])[mask].mean() for t, flow, mask in pairs]))


def sharpness(image: Array) -> list[float]:
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    steep = np.sort(np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)).ravel())
    return [float(steep.mean()), float(steep[-steep.size // 10 :].mean()), float(cv2.Laplacian(grey, cv2.CV_32F).var())]


def style_score(style: Style) -> Callable[[Array], float]:
    """The weighted style losses of the style's recipe, in millions, by VGG16 on torch."""
    losses = [entry for entry in style.info.recipe["losses"] if entry["name"] == "style"]
    every = ("relu1_2", "relu2_2", "relu3_3", "relu4_3")
    encoder, weights = HOST.make_model("vgg16"), load_weights(HOST.make_model("vgg16"))
    network = encoder.network().prune(every)
    painter = HOST.make_backend("torch", device="cpu", precision="float32").painter(
        network, {name: weights[name] for name in network.weight_shapes()}, batch=1
    )

    def grams(image: Array) -> list[Array]:
        features = painter.run({"image": image.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1})
        flat = [x.reshape(x.shape[1], -1) for x in features.values()]
        return [f @ f.T / f.size for f in flat]

    asked = style.info.recipe["style"]
    goal = grams(resized(read_picture(shipped() / "styles" / Path(asked["image"]).name).rgb, asked["size"]))
    shares = [sum(loss["weight"] for loss in losses if layer in loss.get("layers", every)) / 1e6 for layer in every]
    return lambda image: float(sum(k * np.square(a - b).sum() for k, a, b in zip(shares, grams(image), goal, strict=True)))


if __name__ == "__main__":
    main()
