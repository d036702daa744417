"""Whether a flow that is easily taken for the right one would fit better than the one that a dataset gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from engine import Array, Sample
from engine_datasets.contact_sheet import difference

if TYPE_CHECKING:
    from engine import Run

DOUBTS: dict[str, Callable[[Array], Array]] = {
    "with the flow negated (it leads from a frame back to the one before)": lambda flow: -flow,
    "with dx and dy exchanged (dx, along the width, comes first)": lambda flow: flow[:, ::-1],
}
SHARE = 0.8
"""Of what the flow leaves over: a flow that leaves less than that fits better."""
SHARE_OF_ONE = 0.5
"""The same where a single clip is asked."""


def altered(sample: Sample) -> Iterator[tuple[str, Sample]]:
    """The sample with each flow that the right one is taken for."""
    assert sample.flow is not None
    for doubt, alter in DOUBTS.items():
        yield doubt, replace(sample, flow=alter(sample.flow))


def doubt_of(run: Run) -> str | None:
    """What the held-out clip's flow makes one ask before a run begins."""
    clip = run.held_out
    if clip.flow is None or clip.mask is None:
        return None
    sample = Sample(clip.frames[0], clip.flow[0], clip.mask[0])
    seen = clip.mask[0, -1, 0] > 0
    if not seen.any():
        return None
    left = float(difference(sample)[seen].mean())
    instead, doubt = min((float(difference(other)[seen].mean()), doubt) for doubt, other in altered(sample))
    if instead < SHARE_OF_ONE * left:
        found = f"warping leaves {left:.1f} grey levels over, and {instead:.1f} {doubt}"
        return f"{run.recipe.dataset.name}: {found}; is the flow right? `engine data check` asks more clips"
    return None
