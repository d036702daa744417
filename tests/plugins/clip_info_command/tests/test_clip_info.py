"""The command says of a file that is no clip what the engine says of it."""

from pathlib import Path

import pytest
import typer
from clip_info_command import clip_info, engine_register_commands

from engine import EngineError


def test_what_is_no_clip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("no clip")
    with pytest.raises(EngineError, match=r"notes\.mp4"):
        clip_info(tmp_path / "notes.mp4")


def test_it_is_registered_by_its_name() -> None:
    app = typer.Typer()
    engine_register_commands(app)
    assert [command.name for command in app.registered_commands] == ["clip-info"]
