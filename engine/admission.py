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
    """Who is left out, by the name of a plugin or of a stranger's distribution, in any spelling."""

    disabled: frozenset[str] = frozenset()
    allowed: frozenset[str] | None = None
    """The only strangers that may load; None lets all. First-party plugins and files that the user names need no permission."""
    first_party_only: bool = False
    unknown: frozenset[str] = frozenset()
    """Variables that are called almost like the two."""

    @classmethod
    def of_environment(cls, first_party_only: bool = False) -> Admission:
        """What ``ENGINE_DISABLE_PLUGINS=a,b`` and ``ENGINE_ALLOW_PLUGINS=a,b`` say.

        An allow-list that is set and empty lets no stranger in.
        """
        return cls(
            frozenset(_words(os.environ.get(DISABLE, ""))),
            frozenset(_words(os.environ[ALLOW])) if ALLOW in os.environ else None,
            first_party_only,
            frozenset(key for key in os.environ if re.match("ENGINE_.*PLUGIN", key.upper()) and key not in (DISABLE, ALLOW)),
        )

    def refusal(self, found: Discovered) -> tuple[Literal["disabled", "not allowed"], str] | None:
        """What a plugin is listed as that may not run, and the reason where its status does not say it; None where it may."""
        if _listed(found, self.disabled):
            return "disabled", ""
        if found.file is not None or is_first_party(found.distribution):
            return None
        if self.first_party_only:
            return "not allowed", "left out by --no-plugins"
        if self.allowed is not None and not _listed(found, self.allowed):
            return "not allowed", f"{ALLOW} does not name it"
        return None

    def misspelt(self, there: Iterable[Discovered]) -> list[str]:
        """A clause for each name in the environment that nothing has."""
        names = {name for found in there for name in _names(found)}
        known = {DISABLE: (self.disabled, names), ALLOW: (self.allowed or frozenset(), names | {OURS})}
        return [
            f"{variable}: {unknown('plugin or distribution', name, those)}"
            for variable, (stated, those) in known.items()
            for name in sorted(stated)
            if _same(name) not in map(_same, those)
        ] + [unknown("variable of the environment", key, known) for key in sorted(self.unknown)]


def is_first_party(distribution: str) -> bool:
    """Whether a distribution is the engine's own."""
    return _same(distribution) == OURS


def _names(found: Discovered) -> set[str]:
    """What a list may call it; the engine's own distribution is not meant by one of its plugins."""
    alone = found.file is not None or is_first_party(found.distribution)
    return {found.name} if alone else {found.name, found.distribution}


def _listed(found: Discovered, names: Iterable[str]) -> bool:
    return not set(map(_same, _names(found))).isdisjoint(map(_same, names))


def _words(text: str) -> set[str]:
    return {word.strip() for word in text.split(",")} - {""}


def _same(name: str) -> str:
    """Spellings that package indexes take for one name."""
    return re.sub(r"[-_.]+", "-", name).lower()
