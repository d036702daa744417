"""Processes give the same batches as threads, know plugin files, and never leave the reader waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from installed import HOST

from engine import BadSample, Dataset, EngineError, RunError, Sample
from engine.loader import Loader
from engine.plugins import load_plugins

OPENED = """
import os
from functools import cached_property
import numpy as np
from engine import BadSample, Dataset, Sample, hookimpl

class Opened(Dataset):
    name = "opened"

    @cached_property
    def number(self):
        return int.from_bytes(os.urandom(3)) | 1 << 24

    def __len__(self):
        return 8

    def __getitem__(self, index):
        if index == 5:
            raise BadSample("this file ends early", where="5.pfm")
        if index == 6:
            os._exit(9)
        frame = np.frombuffer(self.number.to_bytes(4) + os.getpid().to_bytes(4) + bytes(4), np.uint8)
        return Sample(frame.reshape(1, 2, 2, 3))

@hookimpl
def engine_register_datasets():
    return [Opened]
"""


def test_threads_and_processes_give_the_same_batches() -> None:
    dataset = HOST.make_dataset("moving_layers", {"width": 24, "height": 20, "length": 9, "layers": 2})
    settings = {"dataset": dataset, "indices": range(8), "batch": 3, "frames": 2, "seed": 4}
    one, other = Loader(**settings).batches(2), Loader(**settings, processes=True).batches(2)
    for _ in range(3):
        left, right = next(one), next(other)
        for key in ("frames", "flow", "mask"):
            np.testing.assert_array_equal(getattr(left, key), getattr(right, key))
    one.close()
    other.close()


def test_a_process_opens_the_dataset_of_a_plugin_file_once_and_its_errors_come_back(tmp_path: Path) -> None:
    path = tmp_path / "opened.py"
    path.write_text(OPENED)
    host = load_plugins([path])
    dataset = host.make_dataset("opened", {"bad_share": 1.0})
    loader = Loader(dataset, [0, 1, 2, 3, 5], 1, 1, workers=1, processes=True, plugins=host.files)
    batches = loader.batches()
    seen = {next(batches).frames.tobytes() for _ in range(10)}
    batches.close()
    assert len(seen) == 1  # one process, one number
    assert loader.bad.files == {"5.pfm": "this file ends early"}
    with pytest.raises(RunError, match=r"a process that reads samples was ended(.|\n)*loader\.workers=1"):
        next(Loader(dataset, [6], 1, 1, workers=1, processes=True, plugins=host.files).batches())


class Locked(Dataset):
    """Keeps what cannot be pickled."""

    name = "locked"
    lock: object = None

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        raise BadSample("never read")


def test_a_dataset_that_cannot_be_pickled_is_named() -> None:
    with pytest.raises(EngineError, match=r"cannot be pickled for other processes: TypeError(.|\n)*loader\.processes=false"):
        next(Loader(Locked(lock=threading.Lock()), [0], 1, 1, processes=True).batches())
