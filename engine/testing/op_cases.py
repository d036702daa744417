"""Cases of every operator, for every backend."""

from engine.testing.image_cases import IMAGE_CASES
from engine.testing.tensor_cases import TENSOR_CASES

OP_CASES = (*TENSOR_CASES, *IMAGE_CASES)
"""Every method of :class:`engine.Ops` in every setting that has gone wrong somewhere; the results are the oracle's."""
