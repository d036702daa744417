"""The objective: the same gradient on every backend as on the oracle, and a clip that gives only what it has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed import HOST, TRAINING, backend

from engine import (
    Batch,
    BatchTensors,
    Clip,
    EngineError,
    Field,
    Loss,
    Needs,
    Network,
    Objective,
    Ops,
    Prepared,
    RunError,
    Tensor,
    TrainingPlan,
)
from engine.chained_flow import chain_flow
from engine.objective import PlanClip, check_of, union
from engine.plugins import load_plugins
from engine.testing import OracleOps

SIZE = (20, 24)
LABELS = ("content", "style", "total_variation", "feature_temporal", "output_temporal")


def losses() -> dict[str, Loss]:
    return {name: HOST.make_loss(name, {"layers": ["relu1_2", "relu2_2"]} if name == "style" else {}) for name in LABELS}


def plan(chosen: dict[str, Loss] | None = None, low: float = -1.0) -> TrainingPlan:
    network = HOST.make_model("reconet", {"width": 3, "residual_blocks": 1}).network()
    encoder = HOST.make_model("vgg16").network().prune(("relu1_2", "relu2_2", "relu3_3"))
    style = np.random.default_rng(1).integers(0, 256, (24, 28, 3), np.uint8)
    shown = Network(encoder.inputs, encoder.nodes, encoder.outputs, encoder.taps, low=low)
    return TrainingPlan(network, network.initial_weights(2), chosen or losses(), shown, encoder.initial_weights(3), style, 1e-3)


def batch(n: int = 2, t: int = 2) -> Batch:
    rng = np.random.default_rng(4)
    flow = rng.normal(0, 2, (n, t - 1, 2, *SIZE)).astype(np.float32)
    mask = rng.integers(0, 2, (n, t - 1, 1, *SIZE)).astype(np.float32)
    return Batch(rng.integers(0, 256, (n, t, *SIZE, 3), np.uint8), flow, mask)


def on_oracle(given: TrainingPlan, batch: Batch, weights: dict[str, np.ndarray]) -> float:
    ops = OracleOps()
    objective = Objective(ops, given, "float32", {})
    total, _ = objective({k: ops.asarray(x) for k, x in weights.items()}, BatchTensors.of(ops, batch))
    return float(total)


@pytest.mark.parametrize("name", TRAINING)
def test_the_gradient_through_network_encoder_and_losses_is_right(name: str) -> None:
    given, data = plan(), batch(n=1)
    used = backend(name, "float32")
    objective = Objective(used.ops, given, "float32", used.native)
    names, start = list(given.weights), list(given.weights.values())
    tensors = BatchTensors.of(used.ops, data)
    _, gradients = used.gradient(lambda *w: objective(dict(zip(names, w, strict=True)), tensors)[0], *start)
    rng = np.random.default_rng(5)
    direction = {key: rng.normal(size=x.shape) for key, x in given.weights.items()}
    expected, eps = 0.0, 1e-6
    for sign in (1, -1):
        moved = {key: x.astype(np.float64) + sign * eps * direction[key] for key, x in given.weights.items()}
        expected += sign * on_oracle(given, data, moved) / (2 * eps)
    found = sum(float((g * direction[key]).sum()) for key, g in zip(names, gradients, strict=True))
    assert found == pytest.approx(expected, rel=2e-3)


def test_frames_flow_and_masks_stay_with_their_clip() -> None:
    ops, given, data = OracleOps(), plan(), batch(n=2, t=3)
    objective = Objective(ops, given, "float32", {})
    clip = PlanClip(objective, {k: ops.asarray(x) for k, x in given.weights.items()}, BatchTensors.of(ops, data))
    assert clip.times == (0, -1, -2)
    for t in clip.times:
        np.testing.assert_allclose(clip.frame(t), data.frames[:, 2 + t].transpose(0, 3, 1, 2) / 127.5 - 1, atol=1e-12)
        np.testing.assert_allclose(clip.output(t), clip.paint(clip.frame(t)), atol=1e-12)
        np.testing.assert_allclose(clip.encoded("output", "relu2_2", t), clip.encode(clip.output(t), ["relu2_2"])["relu2_2"], atol=1e-9)
    assert data.flow is not None
    assert data.mask is not None
    np.testing.assert_array_equal(clip.flow(0, -1), data.flow[:, 1])
    np.testing.assert_array_equal(clip.mask(-1, -2), data.mask[:, 0])
    small = clip.flow(0, -1, (10, 6))
    np.testing.assert_allclose(small, ops.resize(clip.flow(0, -1), (10, 6), "bilinear") * np.array([6 / 24, 10 / 20]).reshape(1, 2, 1, 1))
    assert set(np.unique(clip.mask(0, -1, (10, 6)))) <= {0.0, 1.0}
    flow, mask = chain_flow(ops, [clip.flow(0, -1), clip.flow(-1, -2)], [clip.mask(0, -1), clip.mask(-1, -2)])
    np.testing.assert_array_equal(clip.flow(0, -2), flow)
    np.testing.assert_array_equal(clip.mask(0, -2), mask)
    np.testing.assert_allclose(clip.flow(0, -2, (10, 12)), ops.resize(flow, (10, 12), "bilinear") / 2)


@pytest.mark.parametrize(("t", "to"), [(0, -3), (-1, 0), (-2, -3), (1, 0), (0, 0)])
def test_a_clip_refuses_what_it_has_not(t: int, to: int) -> None:
    ops, given = OracleOps(), plan()
    objective = Objective(ops, given, "float32", {})
    clip = PlanClip(objective, {k: ops.asarray(x) for k, x in given.weights.items()}, BatchTensors.of(ops, batch(n=1, t=3)))
    with pytest.raises(EngineError, match="older frame"):
        clip.flow(t, to)
    with pytest.raises(EngineError, match="frame 1"):
        clip.frame(1)


def test_a_batch_without_flow_is_refused_by_a_loss_that_reads_it() -> None:
    given = plan()
    with pytest.raises(EngineError, match="flow or mask"):
        backend("torch", "float32").trainer(given).evaluate(Batch(batch().frames))


def test_needs_are_joined_and_ranges_compared() -> None:
    needs = union(losses())
    assert (needs.frames, needs.flow, needs.taps) == (2, True, ("features",))
    assert set(needs.encoder) == {"relu1_2", "relu2_2", "relu3_3"}
    assert needs.frame_encoder == ("relu3_3",)
    with pytest.raises(EngineError, match=r"paints in \[-1\.0, 1\.0\], the encoder reads \[0\.0, 1\.0\]"):
        backend("torch", "float32").trainer(plan(low=0.0))
    given = plan()
    alone = TrainingPlan(given.network, given.weights, given.losses, None, {}, given.style, 1e-3)
    with pytest.raises(EngineError, match="no encoder"):
        backend("torch", "float32").trainer(alone)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision_is_near_and_ends_before_the_losses(precision: str) -> None:
    given, data = plan({"output_temporal": losses()["output_temporal"]}), batch()
    exact = float(backend("torch", "float32").trainer(given).evaluate(data)["total"])
    found = float(backend("torch", precision).trainer(given).evaluate(data)["total"])
    assert found != exact
    assert found == pytest.approx(exact, rel=0.03)


class Odd(Loss):
    """A loss that goes wrong in one of several ways."""

    name = "odd"
    way: str = Field(description="Which.")

    def needs(self) -> Needs:
        return Needs()

    def __call__(self, ops: Ops, clip: Clip, prepared: Prepared) -> Tensor:
        if self.way == "raises":
            raise KeyError("brush")
        if self.way == "does not fit":
            return ops.mean(ops.matmul(clip.output(0), clip.output(0)))
        if self.way == "misspelt":
            return ops.maen(clip.output(0))
        if self.way == "greedy":
            return ops.mean(clip.encoded("output", "relu2_2", 0))
        return {"number": 1.0, "nothing": None, "picture": clip.output(0), "constant": ops.mean(clip.frame(0))}[self.way]


@pytest.mark.parametrize("name", TRAINING)
@pytest.mark.parametrize(
    ("way", "said"),
    [
        ("raises", r"the loss odd failed: KeyError: 'brush' \(.*test_objective.py:\d+\)\n  `engine plugins check loss odd` says what"),
        (
            "greedy",
            r"the loss odd reads clip.encoded\('output', 'relu2_2', 0\), which its needs\(\) does not name\n  Let needs\(\) return Needs\(",
        ),
        ("number", r"the loss odd returns 1.0; allowed: a tensor of shape \(\), made by ops"),
        ("nothing", "the loss odd returns None; allowed"),
        ("picture", r"the loss odd returns a tensor of shape \(1, 3, 20, 24\); allowed"),
    ],
)
def test_a_loss_that_goes_wrong_is_named(name: str, way: str, said: str) -> None:
    others = {"content": HOST.make_loss("content", {"layer": "relu2_2"})}  # what one loss asks for is there for no other
    trainer = backend(name, "float32").trainer(plan({"odd": Odd(way=way)} | others))
    with pytest.raises(RunError, match=said):
        trainer.step(batch(n=1))


def test_where_an_operator_fails_the_line_of_the_loss_is_told() -> None:
    """Of torch; MindSpore computes later, and then says in words of its own that something did not fit."""
    trainer = backend("torch", "float32").trainer(plan({"odd": Odd(way="does not fit")}))
    with pytest.raises(RunError, match=r"the loss odd failed: RuntimeError: .*\n?.*test_objective.py:\d+\)\n"):
        trainer.step(batch(n=1))


def test_an_operator_that_there_is_not_is_compared_with_those_that_there_are() -> None:
    trainer = backend("torch", "float32").trainer(plan({"odd": Odd(way="misspelt")}))
    with pytest.raises(RunError, match=r"AttributeError: .* 'maen'; did you mean 'mean'\? \(.*test_objective.py:\d+\)"):
        trainer.step(batch(n=1))


@pytest.mark.parametrize("name", TRAINING)
def test_a_loss_without_a_gradient_teaches_nothing(name: str) -> None:
    given = plan({"odd": Odd(way="constant")})
    trainer = backend(name, "float32").trainer(given)
    assert float(trainer.step(batch(n=1))["total"]) != 0
    assert all(np.array_equal(x, given.weights[key]) for key, x in trainer.weights().items())


STRANGER = """
from engine import Loss, Needs, hookimpl

class Mine(Loss):
    name = "mine"
    def needs(self):
        return Needs()
    def __call__(self, ops, clip, prepared):
        return ops.mean(clip.output(0))

@hookimpl
def engine_register_losses():
    return [Mine]
"""


def test_the_command_that_checks_a_loss_loads_its_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(STRANGER)
    assert f"`engine plugins check loss mine --plugin {tmp_path}/mine.py` " in check_of(
        load_plugins([tmp_path / "mine.py"]).make_loss("mine")
    )
    assert "`engine plugins check loss content` " in check_of(HOST.make_loss("content"))
