"""Gradients in PyTorch, zeros where a value does not depend on a tensor."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def gradients(value: torch.Tensor, tensors: Sequence[torch.Tensor]) -> Sequence[torch.Tensor]:
    """Of a scalar by each tensor. PyTorch refuses a value that depends on none of them."""
    if not value.requires_grad:
        return [torch.zeros_like(x) for x in tensors]
    return torch.autograd.grad(value, list(tensors), allow_unused=True, materialize_grads=True)
