"""For tests of plugins: the float64 oracle of every operator, and the tables of cases that backends are compared on."""

from engine.testing.gradients import numerical_gradient as numerical_gradient
from engine.testing.oracle import OracleOps as OracleOps
