"""Prints how far every installed backend is from the float64 oracle, and from the first one that trains; ``make parity``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from installed import BACKENDS, TRAINING, backend
from known_differences import KNOWN_DIFFERENCES
from test_parity import everyday, painted, shipped_style, teacher_forced, wide

from engine import Array
from engine.plugins import load_plugins
from engine.testing import LAYER_CASES, OP_CASES, LayerCase, OpCase
from engine.weights import load_weights

UNKNOWN = {case for known in KNOWN_DIFFERENCES for case in known.cases}


def main() -> None:
    """One line a backend and operator or layer, then what they paint and how they train."""
    for name in BACKENDS:
        print(f"\n{name}: worst difference from float64, relative to the largest element; value, gradient")
        for title, cases in (("operators", OP_CASES), ("layers", LAYER_CASES)):
            print(f"  {title}")
            worst: dict[str, list[float]] = {}
            for case in cases:
                key = case.op if isinstance(case, OpCase) else case.layer.name
                value, gradient = difference(name, case)
                before = worst.setdefault(key, [0.0, 0.0])
                worst[key] = [max(before[0], value), max(before[1], gradient)]
            for key, (value, gradient) in worst.items():
                print(f"    {key:16} {value:8.1e} {f'{gradient:8.1e}' if name in TRAINING else ''}")
    print("\ngrey levels, at most, between painted frames")
    for title, (network, weights), size in (("shipped style", shipped_style(), (160, 90)), ("48 wide, random", wide(), (48, 32))):
        reference = painted("torch", network, weights, size).astype(int)
        for name in BACKENDS:
            apart = np.abs(painted(name, network, weights, size) - reference)
            print(f"  {title}, {name} and torch: {apart.max()} ({(apart > 0).mean():.2%} of the values differ)")
    print(f"\nteacher-forced training, 20 steps, from {TRAINING[0]}; worst over the steps, relative")
    plan, batches = everyday(load_weights(load_plugins().make_model("vgg16")))
    losses: dict[str, float] = {}
    gradients: dict[str, float] = {}
    for step in teacher_forced(plan, batches):
        for label, error in step.losses.items():
            losses[label] = max(losses.get(label, 0), error)
        for weight, error in step.gradients.items():
            gradients[weight] = max(gradients.get(weight, 0), error)
    for label, error in losses.items():
        print(f"  loss {label:44} {error:8.1e}")
    for weight, error in sorted(gradients.items(), key=lambda item: -item[1]):
        print(f"  gradient {weight:40} {error:8.1e}")


def difference(name: str, case: OpCase | LayerCase) -> tuple[float, float]:
    """Of the value and of the gradient, in reference form and native form; 0 where there is none to compare."""
    host = backend(name)
    forms = [None] if isinstance(case, OpCase) else [None, *filter(None, [host.native.get(type(case.layer))])]
    value, gradient = 0.0, 0.0
    for form in forms:
        found = host.ops.to_numpy(case.run(host.ops) if isinstance(case, OpCase) else case.run(host.ops, form))
        value = max(value, apart(found, case.value))
        if name not in TRAINING or not case.variables or f"{case.name}-{name}" in UNKNOWN:
            continue
        if isinstance(case, OpCase):
            wanted = case.gradients()
            _, gradients = host.gradient(lambda *x: case.scalar(host.ops, *x), *case.variables)
        else:
            wanted = case.gradients
            _, gradients = host.gradient(lambda *x, form=form: case.scalar(host.ops, form, *x), *case.variables)
        gradient = max(gradient, *(apart(x, y) for x, y in zip(gradients, wanted, strict=True)))
    return value, gradient


def apart(found: Array, wanted: Array) -> float:
    """The largest difference, relative to the largest element."""
    if not wanted.size:
        return 0.0
    return float(np.abs(found.astype(float) - wanted.astype(float)).max() / max(np.abs(wanted.astype(float)).max(), 1e-12))


if __name__ == "__main__":
    main()
