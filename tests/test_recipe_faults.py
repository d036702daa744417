"""Every fault that a recipe can have, and where it says that it is."""

import sys
from pathlib import Path

import pytest
from recipe_texts import GOOD, faults

from engine.errors import EngineError, RecipeError
from engine.plugins import PluginHost
from engine.recipe import load_recipe


def test_every_fault_at_once_each_with_its_line(recipe_folder: Path, recipe_host: PluginHost) -> None:
    text = """\
format: 1
model: {name: tiny, width: six}
encoder:
  name: eyes
style:
  image: none.jpg
  size: -3
losses:
  - name: contant
  - {name: smooth, wieght: 3}
  - weight: 2
  - name: content
    weight: -1
dataset:
  name: folder
  size: [8]
backend: {name: abcus}
stesp: 100
seed: 1
seed: 2
"""
    assert faults(recipe_host, text, "batch=0", "losses.smoth.weight=1", "preview.evry=3") == (
        "r/x.yaml: steps: this setting is required",
        "r/x.yaml:2: model.width: should be a valid integer, unable to parse string as an integer, and this is 'six'",
        "r/x.yaml:4: encoder.name: no model is called 'eyes'; did you mean 'eye'? known: eye, tiny",
        f"r/x.yaml:6: style.image: there is no style image {recipe_folder / 'r/none.jpg'}",
        "r/x.yaml:7: style.size: should be greater than or equal to 16, and this is -3",
        "r/x.yaml:9: losses.0.name: no loss is called 'contant'; did you mean 'content'? known: content, smooth",
        "r/x.yaml:10: losses.1.wieght: no setting is called 'wieght'; did you mean 'weight'? known: label, tap, weight",
        "r/x.yaml:11: losses.2.name: this setting is required",
        "r/x.yaml:13: losses.3.weight: should be greater than or equal to 0, and this is -1",
        "r/x.yaml:16: dataset.size: this list is too short",
        "r/x.yaml:17: backend.name: no backend is called 'abcus'; did you mean 'abacus'? known: abacus, ready",
        "r/x.yaml:18: stesp: no setting is called 'stesp'; did you mean 'steps'? known: augment, backend, batch, checkpoint, dataset,"
        " encoder, format, licence, loader, losses, model, name, notes, optimiser, preview, requires, seed, steps, style",
        "r/x.yaml:20: the key 'seed' is there twice; first on line 19",
        "--set losses.smoth.weight=1: losses.smoth: there is no item 'smoth'; did you mean 'smooth'?"
        " known: contant, smooth, content, 0 to 3",
        "--set batch=0: batch: should be greater than or equal to 1, and this is 0",
        "--set preview.evry=3: preview.evry: no setting is called 'evry'; did you mean 'every'? known: every",
    )


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (("format: 1\n", ""), "r/x.yaml: format: this setting is required"),
        (("format: 1", "format: 2"), "r/x.yaml:1: format: should be 1, and this is 2"),
        (
            ("steps: 100", "steps: 1.5"),
            "r/x.yaml:14: steps: should be a valid integer, got a number with a fractional part, and this is 1.5",
        ),
        (("steps: 100", "steps: [1]"), "r/x.yaml:14: steps: should be a valid integer, and this is [1]"),
        (("steps: 100", "steps: 1\noptimiser: {learning_rate: .inf}"), "r/x.yaml:15: optimiser.learning_rate: should be a finite number"),
        (("steps: 100", "steps: 1\noptimiser: {betas: [1, 0.9]}"), "r/x.yaml:15: optimiser.betas.0: should be less than 1, and this is 1"),
        (
            ("steps: 100", "steps: 1\noptimiser: {betas: [0.9, -0.1]}"),
            "r/x.yaml:15: optimiser.betas.1: should be greater than or equal to 0, and this is -0.1",
        ),
        (("model: {name: tiny, width: 6}", "model: tiny"), "r/x.yaml:2: model: this should be a mapping of settings, and it is 'tiny'"),
        (("model: {name: tiny, width: 6}", "model: {name: 3}"), "r/x.yaml:2: model.name: should be a valid string, and this is 3"),
        (("steps: 100", "steps: 1\nname: 'a b'"), "r/x.yaml:15: name: string should match pattern"),
        (("  path: clips", "  word: engine"), "r/x.yaml:11: dataset: the word is taken (Take another.)"),
        (
            ("  path: clips", "  word: odd"),
            "r/x.yaml:11: dataset: the dataset 'folder' failed to check its settings: RuntimeError: that was odd",
        ),
        (("encoder:\n  name: eye\n", ""), "r/x.yaml:6: losses.0: the loss 'content' needs an encoder, and this recipe names none"),
        (
            ("tap: inside", "tap: outside"),
            "r/x.yaml:10: losses.1: the loss 'smooth' does not fit: no tap or node is called 'outside'; allowed: inside",
        ),
        (("    weight: 1e4", "    layer: deep"), "r/x.yaml:8: losses.0: the loss 'content' does not fit: no tap or node is called 'deep'"),
        (("    weight: 1e4", "    label: total"), "r/x.yaml:8: losses.0: a loss cannot be called 'total'"),
        (("  name: eye", "  name: eye\n  weights: w.safetensors"), "r/x.yaml:5: encoder.weights: there is no weights file "),
        (("image: pictures/a.jpg", "image: pictures"), "r/x.yaml:6: style.image: "),
        (("  path: clips", "  path: clisp"), "r/x.yaml:13: dataset.path: there is no file or folder "),
        (("  path: clips", "  more: [clips, ../r/x.yaml, none.mp4]"), "r/x.yaml:13: dataset.more.2: there is no file or folder "),
        (("  path: clips", "  more:\n    - clips\n    - none"), "r/x.yaml:15: dataset.more.1: there is no file or folder "),
        (("steps: 100", "steps: 1\nbackend: {rows: 3}"), "r/x.yaml:15: backend.rows: name a backend to give it settings of its own"),
        (("steps: 100", "steps: 1\nbackend: {device: tpu}"), "r/x.yaml:15: backend.device: string should match pattern"),
        (("steps: 100", "steps: 1\nbackend: {precision: f32}"), "r/x.yaml:15: backend.precision: should be 'auto', 'float32', "),
        (
            ("steps: 100", "steps: 1\nrequires: [no-such-dist>=2]"),
            "requires.0: no-such-dist is not installed: pip install 'no-such-dist>=2'",
        ),
        (("steps: 100", "steps: 1\nrequires: [numpy>=99]"), r"is installed, and this recipe needs >=99: pip install 'numpy>=99'"),
        (("steps: 100", "steps: 1\nrequires: [numpy=>1]"), "r/x.yaml:15: requires.0: 'numpy=>1' is no requirement: "),
        (("steps: 100", "steps: 1\nrequires: numpy"), "r/x.yaml:15: requires: this should be a list, and it is 'numpy'"),
        (
            ("steps: 100", "steps: !!python/object:os.system 1"),
            "r/x.yaml:14: the tag 'tag:yaml.org,2002:python/object:os.system' means nothing",
        ),
        (("steps: 100", "steps: !!int ten"), "r/x.yaml:14: 'ten' is no int"),
        (("steps: 100", "steps: 1\n? [a, b]\n: 3"), "r/x.yaml:15: a key is a plain word"),
    ],
)
def test_a_fault(recipe_folder: Path, recipe_host: PluginHost, change: tuple[str, str], fault: str) -> None:
    assert change[0] in GOOD
    found = faults(recipe_host, GOOD.replace(*change))
    assert any(fault in line for line in found), found
    if "is no int" not in fault and "means nothing" not in fault:  # a text in a number's place is a second one
        assert len(found) == 1, found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("dataset: 3", ["r/x.yaml:11: dataset: this should be a mapping of settings, and it is 3"]),
        ("dataset: []", ["r/x.yaml:11: dataset: name at least one dataset, and this is []"]),
        ("dataset: {path: clips}", ["r/x.yaml:11: dataset.name: this setting is required"]),
        (
            "dataset: {name: folder, share: 2}",
            ["r/x.yaml:11: dataset.share: no setting is called 'share'; did you mean 'bad_share'? known: bad_share, flag, "],
        ),
        (
            "dataset:\n  - {name: folder, share: 0}\n  - folder\n  - path: clips\n    share: much\n  - name: foldr\n  - name: folder\n"
            "    flagg: true",
            [
                "r/x.yaml:12: dataset.0.share: should be greater than 0, and this is 0",
                "r/x.yaml:13: dataset.1: this should be a mapping of settings, and it is 'folder'",
                "r/x.yaml:14: dataset.2.name: this setting is required",
                "r/x.yaml:15: dataset.2.share: should be a valid number, unable to parse string as a number, and this is 'much'",
                "r/x.yaml:16: dataset.3.name: no dataset is called 'foldr'; did you mean 'folder'? known: folder",
                "r/x.yaml:18: dataset.4.flagg: no setting is called 'flagg'; did you mean 'flag'?"
                " known: bad_share, flag, height, more, path, size, width, word",
            ],
        ),
        (
            "dataset:\n  - {name: folder, width: 64, height: 48}\n  - name: folder\n    height: 32\n    width: 64\n"
            "  - {name: folder, path: none}",
            [
                "r/x.yaml:15: dataset.1.width: its clips have 64x32, and clips of dataset.0 have 64x48: all of a mix have one size",
                "r/x.yaml:16: dataset.2.path: there is no file or folder {r}/none",
            ],
        ),
        (
            "dataset: {name: folder, width: 64, height: 48}\naugment:\n  flip: 2\n  crop: [64]\n  hue: 1",
            [
                "r/x.yaml:13: augment.flip: should be less than or equal to 1, and this is 2",
                "r/x.yaml:14: augment.crop: this list is too short",
                "r/x.yaml:15: augment.hue: no setting is called 'hue'; known: colour, crop, flip, illumination, scale, versions",
            ],
        ),
        (
            "dataset: {name: folder, width: 64, height: 48}\naugment:\n  flip: 1\n  crop: [68, 48]",
            ["r/x.yaml:14: augment.crop: clips of 64x48 are smaller than 68x48; allowed: a crop inside them, or a higher scale"],
        ),
        (
            "dataset: [{name: folder, width: 64, height: 48}]\naugment:\n  scale: [0.5, 1]",
            ["r/x.yaml:13: augment.scale: clips of 64x48 scaled by 0.5 are smaller than 64x48; allowed: "],
        ),
        (
            "augment:\n  scale: [2, 1]\ndataset: {name: folder}",
            ["r/x.yaml:11: augment: scale is a range [lowest, highest] within 0.1 and 10"],
        ),
    ],
)
def test_faults_of_data(recipe_folder: Path, recipe_host: PluginHost, text: str, found: list[str]) -> None:
    whole = GOOD.replace("dataset:\n  name: folder\n  path: clips", text)
    said = faults(recipe_host, whole)
    assert len(said) == len(found), said
    for line, start in zip(said, found, strict=True):
        assert line.startswith(start.replace("{r}", str(recipe_folder / "r"))), line


def test_losses_must_be_there(recipe_folder: Path, recipe_host: PluginHost) -> None:
    assert faults(recipe_host, "", "losses=[]") == (
        "--set losses=[]: losses: tuple should have at least 1 item after validation, not 0, and this is []",
    )


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "r/x.yaml: this file is empty; a recipe is a mapping that starts with `format: 1`"),
        ("# nothing\n", "r/x.yaml: this file is empty; a recipe is a mapping that starts with `format: 1`"),
        ("\n- a\n", "r/x.yaml:2: a recipe is a mapping that starts with `format: 1`"),
        ("just words", "r/x.yaml:1: a recipe is a mapping that starts with `format: 1`"),
        ("format: 1\nmodel: {name: tiny\nsteps: 1\n", "r/x.yaml:3: this is no YAML: "),
        ("format: 1\n\tsteps: 1\n", "r/x.yaml:2: this is no YAML: "),
        ("format: 1\n---\nformat: 1\n", "r/x.yaml:2: this is no YAML: expected a single document"),
        ("format: *nobody\n", "r/x.yaml:1: this is no YAML: "),
        ("format: &a [*a]\n", "r/x.yaml:1: this value contains itself"),
        ("format: \x07\n", "r/x.yaml: this is no YAML: "),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
        ), "r/x.yaml: this holds over 100,000 values"),
    ],
)  # fmt: skip
def test_what_is_no_recipe(recipe_folder: Path, recipe_host: PluginHost, text: str, fault: str) -> None:
    (recipe_folder / "r/x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/x.yaml", (), recipe_host)
    assert caught.value.faults[0].startswith(fault)
    assert len(caught.value.faults) == 1


def test_what_is_nested_too_deeply_is_no_recipe(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/x.yaml").write_text("format: " + "[" * 1500)
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own, which frameworks raise for all of the process
    try:
        with pytest.raises(RecipeError, match=r"^r/x\.yaml: this is nested too deeply$"):
            load_recipe("r/x.yaml", (), recipe_host)
    finally:
        sys.setrecursionlimit(before)


def test_files_that_are_no_recipe(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\x00")
    (recipe_folder / "huge.yaml").write_bytes(b"#" * 1_000_001)
    for name, said in [
        ("r", "r: this is a folder, and a recipe is a YAML file"),
        ("binary.yaml", "binary.yaml: this is no text"),
        ("huge.yaml", "huge.yaml: this has 1,000,001 bytes, which no recipe has"),
        ("r/absent.yaml", "r/absent.yaml: there is no such recipe; known: "),
        ("reconet_cndy", "reconet_cndy: there is no such recipe; did you mean 'reconet_candy'? known: "),
    ]:
        with pytest.raises(EngineError) as caught:
            load_recipe(name, (), recipe_host)
        assert str(caught.value).startswith(said)


def test_a_fault_names_the_file_that_states_it(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/x.yaml").write_text(GOOD.replace("width: 6", "width: 0").replace("steps: 100", "steps: 0"))
    (recipe_folder / "r/child.yaml").write_text("extends: x.yaml\nsteps: -1\nbatch: 0\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/child.yaml", ["seed=-1"], recipe_host)
    assert [line.split(": should")[0] for line in caught.value.faults] == [
        "r/child.yaml:2: steps",
        "r/child.yaml:3: batch",
        "r/x.yaml:2: model.width",
        "--set seed=-1: seed",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("extends: child.yaml\n", "r/child.yaml:1: extends: a recipe cannot extend itself (r/child.yaml -> r/child.yaml)"),
        (
            "steps: 1\nextends: middle.yaml\n",
            "r/middle.yaml:1: extends: a recipe cannot extend itself (r/child.yaml -> r/middle.yaml -> r/child.yaml)",
        ),
        ("\nextends: absent.yaml\n", "r/child.yaml:2: extends: there is no recipe r/absent.yaml"),
        (
            "extends: reconet_cany\n",
            "r/child.yaml:1: extends: there is no recipe r/reconet_cany; did you mean 'reconet_candy'?",
        ),
        ("extends: [x.yaml]\n", "r/child.yaml:1: extends: this is the path of one recipe, or the name of a shipped one"),
        (
            "extends: x.yaml\nlosses:\n  contant: null\n",
            "r/child.yaml:3: losses.contant: there is no such loss to leave out; did you mean 'content'? known: content, smooth",
        ),
        (
            "extends: x.yaml\nlosses:\n  content: 3\n",
            "r/child.yaml:3: losses.content: this is a mapping of settings, or null to leave the loss out",
        ),
        (
            "extends: x.yaml\nlosses:\n  contant: {weight: 3}\n",
            "r/child.yaml:3: losses.2.name: no loss is called 'contant'; did you mean 'content'? known: content, smooth",
        ),
    ],
)  # fmt: skip
def test_faults_of_extends(recipe_folder: Path, recipe_host: PluginHost, text: str, fault: str) -> None:
    (recipe_folder / "r/child.yaml").write_text(text)
    (recipe_folder / "r/middle.yaml").write_text("extends: child.yaml\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/child.yaml", (), recipe_host)
    assert caught.value.faults == (fault,)


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("stps=3", "--set stps=3: stps: no setting is called 'stps'; did you mean 'steps'? known: "),
        ("model.wdth=3", "--set model.wdth=3: model.wdth: no setting is called 'wdth'; did you mean 'width'? known: width"),
        ("a.b.c=3", "--set a.b.c=3: a: no setting is called 'a'; known: "),
        ("steps.x=3", "--set steps.x=3: steps.x: steps is one value and holds no 'x'"),
        ("losses.2.weight=3", "--set losses.2.weight=3: losses.2: there is no item '2'; known: content, smooth, 0 to 1"),
        ("losses.-1.weight=3", "--set losses.-1.weight=3: losses.-1: there is no item '-1'; known: "),
        ("dataset.0.path=r", "--set dataset.0.path=r: dataset.0: no setting is called '0'; known: "),
        ("augment.flp=1", "--set augment.flp=1: augment.flp: no setting is called 'flp'; did you mean 'flip'? known: "),
        ("augment=3", "--set augment=3: augment: this should be a mapping of settings, and it is 3"),
        ("dataset=[{name: folder, share: -1}]", "--set dataset=[{name: folder, share: -1}]: dataset.0.share: should be greater than 0"),
        ("extends=x.yaml", "--set extends=x.yaml: extends: a recipe names its parent in its file"),
        ("model={name: tiny, name: eye}", "--set model={name: tiny, name: eye}: the key 'name' is there twice"),
        ("steps", "--set steps: write --set KEY=VALUE, for example"),
        ("=3", "--set =3: write --set KEY=VALUE"),
        ("a..b=3", "--set a..b=3: write --set KEY=VALUE"),
        ("steps=[1", "--set steps=[1: this is no YAML: "),
        ("model.name=tinny", "--set model.name=tinny: model.name: no model is called 'tinny'; did you mean 'tiny'?"),
        ("style.image=none.jpg", "--set style.image=none.jpg: style.image: there is no style image "),
    ],
)
def test_faults_of_set(recipe_folder: Path, recipe_host: PluginHost, setting: str, fault: str) -> None:
    found = faults(recipe_host, "", setting)
    assert found[0].startswith(fault), found
    assert len(found) == 1


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("dataset.path=r", "--set dataset.path=r: dataset.path: there is no item 'path'; known: folder, folder#2, 0 to 1"),
        ("dataset.foldr.path=r", "--set dataset.foldr.path=r: dataset.foldr: there is no item 'foldr'; did you mean 'folder'? known: "),
        ("dataset.folder#2.pth=r", "--set dataset.folder#2.pth=r: dataset.1.pth: no setting is called 'pth'; did you mean 'path'? known: "),
    ],
)
def test_faults_of_set_in_a_list_of_datasets(recipe_folder: Path, recipe_host: PluginHost, setting: str, fault: str) -> None:
    text = GOOD.replace("dataset:\n  name: folder\n  path: clips", "dataset: [{name: folder}, {name: folder}]")
    (said,) = faults(recipe_host, text, setting)
    assert said.startswith(fault), said
