"""The wheel in an environment of its own, beside a distribution called ``datasets``: from install to uninstall, in this order."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from media import identity_style
from tiny import write_tiny

from engine.images import Picture, write_picture

ROOT = Path(__file__).parents[1]
CHECKOUT = (ROOT / ".git").exists()
PIP = "pip install 'styleengine[torch]'"
THEIRS = {"__init__.py": "OWNER = 'theirs'\n", "load.py": "def load_dataset(name):\n    return name\n"}
OPENS = """
import json
from engine import load_style
from engine.images import read_picture
from engine.places import shipped
from engine.plugins import load_plugins
from engine.recipe import load_recipe
from engine.style import style_files
from engine.video_reading import VideoReader

recipe = load_recipe("reconet_candy")
with VideoReader(shipped() / "sample.mp4") as clip:
    frame = next(clip.frames()).image
print(json.dumps({
    "shipped": str(shipped()),
    "style_image": read_picture(recipe.recipe.style.image).rgb.shape,
    "clip": frame.shape,
    "styles": {name: len(load_style(path).weights) for name, path in style_files().items()},
    "broken": [plugin.error for plugin in load_plugins().plugins if plugin.status != "loaded"],
}))
"""


@dataclass(frozen=True)
class Environment:
    """A virtual environment without pip in it; the pip of this one serves it."""

    folder: Path

    @property
    def programs(self) -> Path:
        return self.folder / ("Scripts" if os.name == "nt" else "bin")

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages")
        return found

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        """A program of the environment, with nothing of this process's own paths and in a folder that holds no checkout."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "ENGINE_"))}
        variables = kept | {"ENGINE_CACHE": str(self.folder / "cache"), "NO_COLOR": "1"}
        program = self.programs / command[0]
        return subprocess.run([program, *command[1:]], cwd=self.folder, env=variables, capture_output=True, text=True)

    def pip(self, *words: str | Path) -> None:
        """A pip command; its files are compiled when they are imported, which most never are."""
        options = ["--no-compile"] if words[0] == "install" else []
        command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", self.programs / "python"]
        done = subprocess.run([*command, *words, *options], cwd=self.folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def tracked() -> list[PurePosixPath]:
    """The files that a fresh clone has; in an export without ``.git``, every file of the tree."""
    if not CHECKOUT:
        return [PurePosixPath(path.relative_to(ROOT).as_posix()) for path in ROOT.rglob("*") if path.is_file()]
    # A checkout may belong to another user than the one who tests it.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [PurePosixPath(name) for name in listed.split("\0") if name and (ROOT / name).is_file()]


def build(source: Path, target: Path) -> Path:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", target, source]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = target.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built from a copy of the tracked files: what git leaves out cannot be in it."""
    source = tmp_path_factory.mktemp("source")
    for name in tracked() if CHECKOUT else ():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    return build(source if CHECKOUT else ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of another distribution, whose import package is called ``datasets``."""
    folder = tmp_path_factory.mktemp("theirs")
    (folder / "datasets").mkdir()
    for name, text in THEIRS.items():
        (folder / "datasets" / name).write_text(text)
    system = '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
    (folder / "pyproject.toml").write_text(system + '[project]\nname = "datasets"\nversion = "3.0"\n')
    return build(folder, folder / "dist")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, wheel: Path, theirs: Path) -> Iterator[Environment]:
    """Theirs first, then our wheel with its core dependencies."""
    environment = Environment(tmp_path_factory.mktemp("environment"))
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment.folder], check=True)
    environment.pip("install", "--no-deps", "--no-index", theirs)
    environment.pip("install", wheel)
    yield environment
    shutil.rmtree(environment.folder)  # with a framework it is large


def their_files(environment: Environment) -> dict[str, str]:
    return {path.name: path.read_text() for path in (environment.packages / "datasets").glob("*.py")}


def test_the_wheel_holds_our_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [PurePosixPath(name) for name in archive.namelist()]
    (about,) = {name.parts[0] for name in names if name.parts[0].endswith(".dist-info")}
    assert {name.parts[0] for name in names} == {
        "engine",
        "engine_mindspore",
        "engine_onnx",
        "engine_openvino",
        "engine_torch",
        "engine_losses",
        "engine_datasets",
        about,
    }
    assert not [name for name in names if "tests" in name.parts or name.name.startswith("test_")]
    assert {"LICENSE", "NOTICE"} <= {name.name for name in names}
    assert [name for name in names if name.name == "py.typed"]


def test_the_wheel_ships_the_recipes_of_a_checkout(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name.removeprefix("engine/shipped_recipes/") for name in archive.namelist() if "/shipped_recipes/" in name}
    there = {str(name.relative_to("recipes")) for name in tracked() if name.parts[0] == "recipes" and "__pycache__" not in name.parts}
    assert {"reconet_candy.yaml", "styles/candy.jpg", "sample.mp4"} <= there
    assert packed == there


def test_the_wheel_ships_the_templates_of_new_plugins(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("engine/cli/templates/")}
    assert {f"engine/cli/templates/{kind}.py.txt" for kind in ("loss", "dataset", "model", "backend", "test")} <= packed
    assert packed == {str(name) for name in tracked() if name.is_relative_to("engine/cli/templates")}


def test_their_package_is_still_theirs(installed: Environment) -> None:
    done = installed.run(
        "python", "-c", "import datasets, datasets.load, engine_datasets; print(datasets.OWNER, datasets.load.load_dataset(1))"
    )
    assert done.stdout == "theirs 1\n", done.stderr
    assert their_files(installed) == THEIRS


@pytest.mark.parametrize("words", [("--version",), ("plugins",), ("recipes",), ("recipes", "check", "reconet_candy")], ids=" ".join)
def test_commands_work_without_a_framework(installed: Environment, words: tuple[str, ...]) -> None:
    done = installed.run("engine", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_what_ships_opens_from_the_installed_wheel(installed: Environment) -> None:
    done = installed.run("python", "-c", OPENS)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert Path(said["shipped"]) == installed.packages / "engine" / "shipped_recipes"
    assert max(said["style_image"]) >= 1024
    assert said["clip"] == [360, 640, 3]
    assert list(said["styles"]) == sorted(name.stem for name in tracked() if name.match("recipes/weights/*.safetensors"))
    assert said["broken"] == []


@pytest.mark.parametrize(
    "words",
    [("train", "tiny.yaml"), ("infer", "photo.png", "--style", "style.safetensors", "--backend", "torch")],
    ids=["train", "infer"],
)
def test_an_absent_framework_is_named_with_the_command_that_installs_it(installed: Environment, words: tuple[str, ...]) -> None:
    write_tiny(installed.folder)
    write_picture(installed.folder / "photo.png", Picture(np.zeros((20, 24, 3), np.uint8)))
    identity_style(installed.folder / "style.safetensors")
    before = sorted(installed.folder.glob("*"))
    done = installed.run("engine", *words)
    assert done.returncode == 2
    assert "the backend 'torch' needs torch, which is not installed" in done.stderr
    assert f"Install it: {PIP}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(installed.folder.glob("*")) == before


@pytest.fixture(scope="module")
def with_torch(installed: Environment) -> Environment:
    """After the command that the message above gives."""
    installed.pip(*shlex.split(PIP)[1:])
    return installed


def test_torch_with_numpy_2_trains_and_paints(with_torch: Environment) -> None:
    versions = with_torch.run("python", "-c", "import numpy; print(numpy.__version__)")
    assert versions.stdout.startswith("2."), versions.stderr
    write_tiny(with_torch.folder)
    done = with_torch.run("engine", "train", "tiny.yaml", "--set", "steps=3", "--run-dir", "run")
    assert done.returncode == 0, done.stderr
    write_picture(with_torch.folder / "photo.png", Picture(np.full((37, 50, 3), 99, np.uint8)))
    done = with_torch.run("engine", "infer", "photo.png", "-o", "painted.png", "--style", "run/style.safetensors", "--json")
    assert done.returncode == 0, done.stderr
    (said,) = json.loads(done.stdout)["outputs"]
    assert (said["width"], said["height"], said["backend"]) == (50, 37, "torch")
    assert (with_torch.folder / "painted.png").is_file()


def test_uninstalling_leaves_theirs_and_nothing_of_ours(installed: Environment, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        ours = {name.split("/")[0] for name in archive.namelist()}
    assert {path.name for path in installed.packages.iterdir()} >= ours
    installed.pip("uninstall", "--yes", "styleengine")
    assert not ours & {path.name for path in installed.packages.iterdir()}
    assert not [path.name for path in installed.programs.iterdir() if path.name.startswith("engine")]
    assert their_files(installed) == THEIRS
    done = installed.run("python", "-c", "import datasets; print(datasets.OWNER)")
    assert done.stdout == "theirs\n", done.stderr
