"""The external plugins of tests/plugins/, installed from their own pyproject into an environment that sees the running one's packages."""

from __future__ import annotations

import os
import shutil
import site
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PLUGINS = Path(__file__).parent / "plugins"
EXTERNAL = ("clip_info_command", "flicker_metric", "flo_frames", "moments_loss", "unet_model")
"""Folders of tests/plugins that need no package beside the engine's."""


@dataclass(frozen=True)
class ExternalSite:
    """A virtual environment without pip in it; the pip of this one serves it."""

    folder: Path

    @property
    def sources(self) -> Path:
        """Copies of the plugins' folders: what a build leaves behind, and tests' own settings, stay out of the checkout."""
        return self.folder / "sources"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    def run(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """The environment's Python, in its folder."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "PYTEST_", "ENGINE_"))}
        return subprocess.run(
            [self.python, *words], cwd=self.folder, env=kept | {"NO_COLOR": "1"} | variables, capture_output=True, text=True
        )

    def engine(self, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """The command line."""
        return self.run("-c", "from engine.cli import main; main()", *words, **variables)

    def pip(self, *words: str | Path) -> None:
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", self.python, *words]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def install(self, *plugins: str) -> None:
        """From their folders' pyproject, whose dependencies the running environment has."""
        for plugin in plugins:
            shutil.copytree(PLUGINS / plugin, self.sources / plugin, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        self.pip("install", "--no-deps", "--no-build-isolation", "--no-compile", *(self.sources / plugin for plugin in plugins))

    def tests(self, plugin: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """The plugin's own tests, in one process, with the status of each."""
        always = ("-q", "-rA", "-p", "no:cacheprovider", "--rootdir", self.sources, "-c", os.devnull)
        return self.run("-m", "pytest", *always, *options, self.sources / plugin / "tests", **variables)


def make_external_site(folder: Path) -> ExternalSite:
    """A new environment; it finds what the running one has, editable installations included."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (packages,) = folder.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
    lines = [f"import site; site.addsitedir({found!r})" for found in site.getsitepackages()]
    (packages / "running.pth").write_text("\n".join(lines) + "\n")
    return ExternalSite(folder)
