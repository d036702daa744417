"""Backends that break the contract; tests/test_backend_contract.py runs this file in a process of its own and reads what is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import SupportsFloat

import torch
from engine_torch.backend import TorchBackend
from engine_torch.ops import TorchOps
from engine_torch.painter import TorchPainter
from engine_torch.trainer import TorchTrainer

from engine import Array, Batch, Network, Painter, Trainer, TrainingPlan
from engine.testing import BackendContract


class WrongOps(TorchOps):
    """One parameter with another name, one operator that is slightly off."""

    name = "wrong_operators"

    def clip(self, x: torch.Tensor, low: float, most: float) -> torch.Tensor:
        return x.clamp(low, most)

    def sqrt(self, x: torch.Tensor) -> torch.Tensor:
        return x.sqrt() + 1e-3


class NamedOps(TorchOps):
    """Right ones."""

    name = "wrong_streams"


class LosingPainter(TorchPainter):
    """Keeps the last of several batches to itself."""

    def paint(self, batches: Iterator[Array]) -> Iterator[Array]:
        waiting = list(super().paint(batches))
        yield from waiting[:-1] or waiting


class ForgetfulTrainer(TorchTrainer):
    """Leaves one weight as it was, and counts its steps anew where it is restored."""

    def step(self, batch: Batch) -> Mapping[str, SupportsFloat]:
        kept = self.tensors["last.bias"]
        values = super().step(batch)
        self.tensors["last.bias"] = kept
        return values

    def restore(self, weights: Mapping[str, Array], state: Mapping[str, Array]) -> None:
        super().restore(weights, state)
        self._steps = 0


class WrongOperators(TorchBackend):
    name = "wrong_operators"

    @cached_property
    def ops(self) -> TorchOps:
        return WrongOps(torch.device("cpu"))


class WrongStreams(TorchBackend):
    """And it takes any device for the CPU."""

    name = "wrong_streams"

    @cached_property
    def ops(self) -> TorchOps:
        return NamedOps(torch.device("cpu"))

    def describe(self) -> dict[str, str]:
        return {"framework": "torch", "version": "1", "device": "cpu", "precision": "float32"}

    def painter(self, network: Network, weights: Mapping[str, Array], *, batch: int = 1) -> Painter:
        return LosingPainter(self.ops, network, weights, "float32", self.native)

    def trainer(self, plan: TrainingPlan) -> Trainer:
        return ForgetfulTrainer(self.ops, plan, "float32", self.native)


class ExcusedOperators(WrongOperators):
    """Knows of the one, and of another one that nobody has."""

    @property
    def known_differences(self) -> Mapping[str, str]:
        return {"test_operator[sqrt positive]": "too large by a thousandth", "test_operator[sqrt postive]": "a slip"}


class TestOperators(BackendContract):
    component = WrongOperators


class TestStreams(BackendContract):
    component = WrongStreams


class TestExpected(BackendContract):
    component = ExcusedOperators
    expected_failures = {"test_signature[tanh]": "it is right"}
