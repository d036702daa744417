"""The repo's own backends keep the contract that strangers' backends are held to, and one that is wrong does not pass it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from installed import BACKENDS, HOST

from engine.testing import BackendContract


def installed(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(name not in BACKENDS, reason=f"{name} is not installed")


@installed("torch")
class TestTorch(BackendContract):
    component = HOST.backend_class("torch")


@installed("mindspore")
class TestMindSpore(BackendContract):
    component = HOST.backend_class("mindspore")


@installed("openvino")
class TestOpenVino(BackendContract):
    component = HOST.backend_class("openvino")


@installed("onnx")
class TestOnnx(BackendContract):
    component = HOST.backend_class("onnx")


MISSED = {
    "TestOperators": {
        "test_signature[clip]": "clip: its parameters are (self, x, low, most), the protocol's (self, x, low, high)",
        "test_operator[sqrt positive]": "sqrt positive: the value is not the oracle's",
        "test_every_step_is_the_oracles": "step 1: the loss style",
        "test_evaluating_learns_nothing": "Max relative difference",
    },
    "TestStreams": {
        "test_a_stream_is_painted_in_order": "batches of [2, 2, 2, 1] pictures came back as [2, 2, 2]",
        "test_painting_is_a_stream": "it waits for the end of the stream",
        "test_one_step_moves_every_weight": "a step left these weights as they were: last.bias",
        "test_every_step_is_the_oracles": "Adam's weight of last.bias is not the oracle's",
        "test_what_is_restored_goes_on_exactly": "of what was restored",
        "test_a_device_that_is_not_there_is_refused[gpu:63]": "device 'gpu:63' is not refused by describe()",
        "test_a_device_that_is_not_there_is_refused[ascend]": "device 'ascend' is not refused by describe()",
        "test_a_device_that_is_not_there_is_refused[ascend:63]": "device 'ascend:63' is not refused by describe()",
        "test_a_precision_is_computed_in_or_refused[bfloat16]": "asked for bfloat16, it computes in float32",
        "test_a_precision_is_computed_in_or_refused[float16]": "asked for float16, it computes in float32",
    },
    "TestExpected": {
        "test_signature[tanh]": "[XPASS(strict)] it is right",
        "test_expected_failures_are_of_cases_that_there_are": "'test_operator[sqrt postive]' is expected to fail, and there",
    },
}
MISSED["TestExpected"] |= {name: said for name, said in MISSED["TestOperators"].items() if name != "test_operator[sqrt positive]"}


@installed("torch")
def test_a_wrong_backend_is_told_what_is_wrong(tmp_path: Path) -> None:
    """In a process of its own: the tests that must fail do, each with its reason, and no other one."""
    found = tmp_path / "found.xml"
    file = Path(__file__).with_name("wrong_backends.py")
    select = ["-k", "not gradient and not test_layer and not import", f"--junitxml={found}"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--noconftest", *select, file],
        env={**os.environ, "PYTHONPATH": str(file.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    failed: dict[str, dict[str, str]] = {}
    for case in ElementTree.parse(found).getroot().iter("testcase"):
        for failure in case.iter("failure"):
            failed.setdefault(case.attrib["classname"].rpartition(".")[2], {})[case.attrib["name"]] = failure.attrib["message"]
    assert {name: sorted(of) for name, of in failed.items()} == {name: sorted(of) for name, of in MISSED.items()}
    unsaid = {name: failed[of][name] for of, said in MISSED.items() for name, text in said.items() if text not in failed[of][name]}
    assert unsaid == {}
