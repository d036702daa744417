"""What README.md says is done, top to bottom in one folder, and what the documents name exists.

The folder holds ``photo.jpg``, ``sky.png``, ``holiday.mp4``, ``clips/`` and ``recipes/``. Of a ``bash`` block every line that begins
with ``engine`` is run by bash; ``engine train`` gets fewer steps and smaller frames by ``--set`` and is otherwise run as it stands. A
``python`` block is executed, and one that stands under ``<!-- file: NAME -->`` is written to that file instead. Under
``<!-- not run: REASON -->`` nothing is run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from media import drawn, write_clip

from engine.cli import make_app
from engine.images import Picture, write_picture
from engine.plugins import load_plugins
from engine.weights import cache_file

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [*(ROOT / f"{name}.md" for name in ("README", "ARCHITECTURE", "CONTRIBUTING", "CHANGELOG")), *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"(?:^<!-- (not run|file): (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.M | re.S)
COMMAND = re.compile(r"^engine (?:.*\\\n)*.*$", re.M)
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|(?:src|href)=\"([^\"]+)\"|^\[[^\]]+\]: (\S+)|`((?:docs/)?\w+\.md)`", re.M)
SHORTER = " --set steps=4 --set dataset.width=64 --set dataset.height=64"


@dataclass(frozen=True)
class Step:
    """A command, a program or a file."""

    kind: str
    text: str
    line: int
    mark: str = ""
    note: str = ""
    """The reason, or the file's name."""

    @property
    def title(self) -> str:
        return f"line {self.line}: {self.note or re.sub(r'[ ]+#.*', '', self.text.splitlines()[0])}"


def read_steps(text: str) -> Iterator[Step]:
    """The steps of a document in its order."""
    for block in BLOCK.finditer(text):
        mark, note, kind, code = block[1] or "", block[2] or "", block[3], block[4]
        line = text.count("\n", 0, block.start(4)) + 1
        if kind == "python":
            yield Step(kind, code, line, mark, note)
        for found in COMMAND.finditer(code) if kind == "bash" else ():
            command = re.sub(r"\s+#.*", "", found[0]) + SHORTER if found[0].startswith("engine train ") else found[0]
            yield Step(kind, command, line + code.count("\n", 0, found.start()), mark, note)


STEPS = list(read_steps(README.read_text(encoding="utf-8")))


def test_steps_are_read_by_their_marks() -> None:
    text = """
<!-- not run: slow -->
```bash
cd there
engine data sample X
```
```bash
engine train a \\
  --overwrite # again
engine infer "a#b" # c
```
<!-- file: x.py -->
```python
1
```
```
engine no
```
"""
    assert list(read_steps(text)) == [
        Step("bash", "engine data sample X", 5, "not run", "slow"),
        Step("bash", f"engine train a \\\n  --overwrite{SHORTER}", 8),
        Step("bash", 'engine infer "a#b" # c', 10),
        Step("python", "1\n", 14, "file", "x.py"),
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reader is supposed to have."""
    folder = tmp_path_factory.mktemp("readme")
    write_picture(folder / "photo.jpg", Picture(drawn(1, 120, 180)[0]))
    write_picture(folder / "sky.png", Picture(np.repeat(np.linspace(255, 0, 120).astype(np.uint8), 180 * 3).reshape(120, 180, 3)))
    write_clip(folder / "holiday.mp4", drawn(6, 72, 96), seconds=0.24)
    moving = load_plugins().make_dataset("moving_layers", {"width": 256, "height": 192, "frames": 6, "noise": 0})
    (folder / "clips").mkdir()
    write_clip(folder / "clips" / "beach.mp4", moving[0].frames, seconds=0.24)
    shutil.copytree(ROOT / "recipes", folder / "recipes", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture(scope="module")
def variables(folder: Path) -> dict[str, str]:
    """This environment's programs first, and a cache of its own."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "ENGINE_CACHE": str(folder / "cache")}


@pytest.fixture(scope="module")
def encoder_in_cache(encoder_weights: object, folder: Path) -> None:
    """A copy of the encoder weights that the user's cache holds, so that nothing is fetched again."""
    file = cache_file(load_plugins().make_model("vgg16"))
    (folder / "cache" / "weights").mkdir(parents=True)
    shutil.copy(file, folder / "cache" / "weights")


@pytest.mark.parametrize("step", STEPS, ids=[step.title for step in STEPS])
def test_a_step(step: Step, folder: Path, variables: dict[str, str], request: pytest.FixtureRequest) -> None:
    if step.mark == "not run":
        pytest.skip(f"{README.name}:{step.line}: {step.note}")
    if step.mark == "file":
        (folder / step.note).write_text(step.text)
        return
    if step.text.startswith(("engine train", "engine weights")):
        request.getfixturevalue("encoder_in_cache")
    command = ["bash", "-c", step.text] if step.kind == "bash" else [sys.executable, "-c", step.text]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{README.name}:{step.line}: {step.text}\n{done.stdout}{done.stderr}"


def test_most_steps_are_run() -> None:
    left_out = [step.title for step in STEPS if step.mark == "not run"]
    print(f"{len(left_out)} of {len(STEPS)} steps are not run:", *left_out, sep="\n  ")
    assert len(STEPS) > 5
    assert len(left_out) * 3 < len(STEPS)


def prose(document: Path) -> str:
    return BLOCK.sub("", document.read_text(encoding="utf-8"))


def mentioned(document: Path) -> list[str]:
    """Commands in the bash blocks and between backticks."""
    text = document.read_text(encoding="utf-8")
    blocks = [found[0] for block in BLOCK.finditer(text) if block[3] == "bash" for found in COMMAND.finditer(block[4])]
    return blocks + [" ".join(quoted.split()) for quoted in re.findall(r"`(engine\s[^`]+)`", prose(document))]


def fault(command: Any, words: list[str]) -> str:
    """What of a command line does not exist: a command of a group, or an option."""
    for word in words:
        if word in ("|", ">", ">>", "&&", ";"):
            break
        option = word.strip("[]").partition("=")[0]
        if option.startswith("-") and option != "-":
            names = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if option not in names | {"-h", "--help"}:
                return f"{command.name} has no {option}"
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return f"{command.name} has no {word}"
            command = command.commands[word]
    return ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("styles info NAME", ""),
        ("train x.yaml --set a=1 | cat --no", ""),
        ("infer [INPUT] [--style X] -o -", ""),
        ("style info", "root has no style"),
        ("recipes chek x", "recipes has no chek"),
        ("infer a --syle x", "infer has no --syle"),
    ],
)
def test_what_does_not_exist_is_found(words: str, said: str) -> None:
    command = typer.main.get_command(make_app())
    command.name = "root"
    assert fault(command, words.split()) == said


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_is_named_exists(document: Path) -> None:
    command = typer.main.get_command(make_app())
    faults = {words: fault(command, shlex.split(words, comments=True)[1:]) for words in mentioned(document)}
    assert not {words: text for words, text in faults.items() if text}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_and_target_that_is_named_exists(document: Path) -> None:
    links = {next(filter(None, found)).partition("#")[0] for found in LINK.findall(prose(document))}
    assert not [link for link in links if link and ":" not in link and not (document.parent / link).exists()]
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(re.findall(r"(?:^ {4}|^|`)make ([a-z]+)", document.read_text(encoding="utf-8"), re.M)) <= set(targets)
