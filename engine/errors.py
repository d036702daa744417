"""Errors that tell a person what is wrong, where, what is allowed and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class EngineError(Exception):
    """What the user gave is wrong; the command line prints it without a traceback and exits with 2."""

    exit_code: ClassVar[int] = 2

    def __init__(self, problem: str, *, where: str = "", allowed: str = "", remedy: str = "") -> None:
        """Build the message.

        Args:
            problem: What is wrong, in one clause without a full stop.
            where: The file, line, option or plugin that it was found in.
            allowed: What would have been accepted.
            remedy: What to do about it, an exact command where there is one.
        """
        super().__init__(problem, where, allowed, remedy)  # all of them, so that it pickles
        self.problem = problem
        self.where = where
        self.allowed = allowed
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.problem, self.where, self.allowed, self.remedy))

    def __str__(self) -> str:
        text = f"{self.where}: {self.problem}" if self.where else self.problem
        if self.allowed:
            text += f"; allowed: {self.allowed}"
        if self.remedy:
            text += f"\n  {self.remedy}"
        return text


class RecipeError(EngineError):
    """Every fault of one recipe, a line each."""

    def __init__(self, faults: Sequence[str], *, where: str = "", allowed: str = "", remedy: str = "") -> None:
        self.faults = tuple([faults] if isinstance(faults, str) else faults)
        super().__init__("\n".join(self.faults), where=where, allowed=allowed, remedy=remedy)


class BadSample(EngineError):
    """A sample of a dataset whose files are missing, truncated or not finite; ``where`` is the path of the file at fault.

    A dataset raises it from ``__getitem__``. Training takes the next sample instead, and stops where too many are bad.
    """


class RunError(EngineError):
    """The run itself failed, through no fault of what the user gave; exit code 1."""

    exit_code: ClassVar[int] = 1


class LossFailed(RunError):
    """A loss raised, or returned what is no number; whoever asked for its value, a plugin for instance, is not at fault."""


def _rebuild(kind: type[EngineError], problem: str, where: str, allowed: str, remedy: str) -> EngineError:
    return kind(problem, where=where, allowed=allowed, remedy=remedy)
