"""Which of the plugins that are there may run: what the environment and the command line leave out, before anything of it is imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from engine.discovery import Discovered
from engine.faults import unknown

OURS = "styleengine"
"""The distribution whose plugins are first-party."""
DISABLE, ALLOW = "ENGINE_DISABLE_PLUGINS", "ENGINE_ALLOW_PLUGINS"


@dataclass(frozen=True)
class Admission:
    """Who is left out, by the name of a plugin or, in the allow-list, also of its distribution."""

    disabled: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    """The only strangers that may load; None lets all. First-party plugins and files that the user names need no permission."""
    first_party_only: bool = False

    @classmethod
    def of_environment(cls, first_party_only: bool = False) -> Admission:
        """What ``ENGINE_DISABLE_PLUGINS=a,b`` and ``ENGINE_ALLOW_PLUGINS=a,b`` say.

        An allow-list that is set and empty lets no stranger in.
        """
        return cls(
            frozenset(_words(os.environ.get(DISABLE, ""))),
            frozenset(_words(os.environ[ALLOW])) if ALLOW in os.environ else None,
            first_party_only,
        )

    def refusal(self, found: Discovered) -> tuple[Literal["disabled", "not allowed"], str] | None:
        """What a plugin is listed as that may not run, and the reason where its status does not say it; None where it may."""
        if found.name in self.disabled:
            return "disabled", ""
        if found.file is not None or is_first_party(found.distribution):
            return None
        if self.first_party_only:
            return "not allowed", "left out by --no-plugins"
        if self.allowed is not None and not {_same(found.name), _same(found.distribution)} & set(map(_same, self.allowed)):
            return "not allowed", f"{ALLOW} does not name it"
        return None

    def misspelt(self, there: Iterable[Discovered]) -> list[str]:
        """A clause for each name in the environment that nothing has."""
        names = {found.name for found in there}
        owners = names | {found.distribution for found in there}
        known = set(map(_same, owners))
        return [f"{DISABLE}: {unknown('plugin', name, names)}" for name in sorted(self.disabled - names)] + [
            f"{ALLOW}: {unknown('plugin or distribution', name, owners)}" for name in sorted(self.allowed or ()) if _same(name) not in known
        ]


def is_first_party(distribution: str) -> bool:
    """Whether a distribution is the engine's own."""
    return _same(distribution) == OURS


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",")} - {""}


def _same(name: str) -> str:
    """Spellings that package indexes take for one name."""
    return re.sub(r"[-_.]+", "-", name).lower()
