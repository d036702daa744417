"""Prints how far every installed backend is from the float64 oracle and from another one, and plots free training; ``make parity``."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from chart import save
from installed import BACKENDS, TRAINING, backend
from test_parity import everyday, far, painted, rounded, shipped_style, teacher_forced, wide

from engine import Array, Batch, TrainingPlan
from engine.places import runs as run_folders
from engine.plugins import load_plugins
from engine.testing import LAYER_CASES, OP_CASES, LayerCase, OpCase
from engine.weights import load_weights


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
    reference = (TRAINING or BACKENDS)[0]
    print(f"\ngrey levels, at most, from what {reference} paints")
    for title, (network, weights), size in (("shipped style", shipped_style(), (160, 90)), ("48 wide, random", wide(), (48, 32))):
        frame = painted(reference, network, weights, size).astype(int)
        for name in BACKENDS:
            levels = np.abs(painted(name, network, weights, size) - frame)
            print(f"  {title}, {name}: {levels.max()} ({(levels > 0).mean():.2%} of the values differ)")
    plan, batches = everyday(load_weights(load_plugins().make_model("vgg16")))
    clips = list(batches)
    if len(TRAINING) > 1:
        forced(plan, clips)
    if TRAINING:
        free(plan, clips)


def forced(plan: TrainingPlan, batches: list[Batch]) -> None:
    """Losses and gradients step by step from the same state."""
    print(f"\nteacher-forced training, {len(batches)} steps, {' and '.join(TRAINING[:2])}; worst over the steps, relative")
    print(f"  {'':52} as trained  round corners (see test_parity.py)")
    assert plan.encoder
    smooth = replace(plan, network=rounded(plan.network), encoder=rounded(plan.encoder))
    sharp, round_ = (list(teacher_forced(each, iter(batches))) for each in (plan, smooth))
    for label in sharp[0].losses:
        print(f"  loss {label:44} {max(step.losses[label] for step in sharp):13.1e} {max(step.losses[label] for step in round_):14.1e}")
    worst = {weight: [max(step.gradients[weight] for step in steps) for steps in (sharp, round_)] for weight in sharp[0].gradients}
    for weight, errors in sorted(worst.items(), key=lambda item: -item[1][0]):
        print(f"  gradient {weight:40} {errors[0]:13.1e} {errors[1]:14.1e}")
    print(f"  steps with a gradient beyond 1e-3{len(far(sharp, 1e-3)):33} {len(far(round_, 1e-3)):14}")


def free(plan: TrainingPlan, batches: list[Batch]) -> None:
    """The total loss of runs that are left to themselves, from one start over the same clips.

    They drift apart as far as a start that is moved by what float32 rounds does, so nothing is asserted.
    """
    start = plan.network.initial_weights(0)
    moved = {name: (x * np.float32(1 + 1e-7)).astype(np.float32) for name, x in start.items()}
    runs = {name: (name, start) for name in TRAINING} | {f"{TRAINING[0]}, start * (1 + 1e-7)": (TRAINING[0], moved)}
    totals: dict[str, Array] = {}
    for title, (name, weights) in runs.items():
        trainer = backend(name).trainer(replace(plan, weights=weights, learning_rate=2e-3))
        totals[title] = np.array([float(trainer.step(batch)["total"]) for batch in [*batches, *batches]])
    first = totals[TRAINING[0]]
    apart = {title: np.abs(total / first - 1) for title, total in totals.items() if title != TRAINING[0]}
    path = run_folders() / "parity_curves.png"
    save(path, {"total loss, every run from the same start on the same clips": totals, f"relative difference from {TRAINING[0]}": apart})
    print(f"\nfree training, {len(first)} steps: {path}")
    for title, values in apart.items():
        print(f"  {title}: {values[0]:.1e} from {TRAINING[0]} at the first step, {values[-1]:.1e} at the last")


def difference(name: str, case: OpCase | LayerCase) -> tuple[float, float]:
    """Of the value and of the gradient, in reference form and native form; 0 where there is none to compare."""
    host = backend(name)
    forms = [None] if isinstance(case, OpCase) else [None, *filter(None, [host.native.get(type(case.layer))])]
    no_gradient = name not in TRAINING or not case.variables or f"test_operator_gradient[{case.name}]" in host.known_differences
    value, gradient = 0.0, 0.0
    for form in forms:
        found = host.ops.to_numpy(case.run(host.ops) if isinstance(case, OpCase) else case.run(host.ops, form))
        value = max(value, apart(found, case.value))
        if no_gradient:
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
