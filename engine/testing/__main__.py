"""``python -m engine.testing``: what ``engine plugins check`` starts; runs a contract and prints a line of JSON after each test."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from engine.cli.plugins_check import END, MARK

LONGEST = 8
"""Lines of a reason."""


class Reporter:
    """A pytest plugin that prints what became of each test."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Print it, once a test: after its call, or where its fixtures failed or skipped it."""
        self._seen.add(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            record = {"test": report.nodeid.rpartition("::")[2], "status": _status(report), "reason": _reason(report)}
            print("\n" + MARK + json.dumps(record), flush=True)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Every test was run: where this line is missing, what was tested has ended the process."""
        if len(self._seen) == session.testscollected:
            print("\n" + END, flush=True)


def _status(report: pytest.TestReport) -> str:
    if report.outcome == "skipped":
        return "expected" if hasattr(report, "wasxfail") else "skipped"
    return "ok" if report.outcome == "passed" else "failed"


def _reason(report: pytest.TestReport) -> str:
    if hasattr(report, "wasxfail"):
        return str(report.wasxfail).removeprefix("reason: ")
    if isinstance(report.longrepr, tuple):  # a skipped test's file, line and reason
        return report.longrepr[2].removeprefix("Skipped: ")
    if report.outcome == "passed" or report.longrepr is None:
        return ""
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr)
    said = text.removeprefix("AssertionError: ").removeprefix("Failed: ").partition("\nassert ")[0]
    return "\n".join([line.rstrip() for line in said.splitlines() if line.strip()][:LONGEST])


def main() -> int:
    """Run the contract that ``ENGINE_CHECK`` describes; pytest's exit status."""
    os.environ.pop("PYTEST_ADDOPTS", None)
    file = Path(__file__).with_name("installed_plugin.py")
    options = ["-c", os.devnull, "--rootdir", str(file.parent), "--noconftest", "-p", "no:cacheprovider", "-q"]
    return int(pytest.main([*options, str(file)], plugins=[Reporter()]))


if __name__ == "__main__":
    sys.exit(main())
