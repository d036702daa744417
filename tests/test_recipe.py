"""Recipes: what they say, where they say it, and every fault that they can have."""

from pathlib import Path

import pytest

from engine.errors import EngineError, RecipeError
from engine.plugins import PluginHost, load_plugins
from engine.recipe import CheckedRecipe, load_recipe
from engine.recipe_source import list_recipes, numbered

KIT = Path(__file__).parent / "plugins/recipe_kit.py"
GOOD = """\
format: 1
model: {name: tiny, width: 6}
encoder:
  name: eye
style:
  image: pictures/a.jpg
losses:
  - name: content
    weight: 1e4
  - {name: smooth, tap: inside}
dataset:
  name: folder
  path: clips
steps: 100
"""


@pytest.fixture(scope="module")
def host() -> PluginHost:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENGINE_DISABLE_PLUGINS", ",".join(plugin.name for plugin in load_plugins().plugins))
        return PluginHost([plugin for plugin in load_plugins([KIT]).plugins if plugin.name == "recipe_kit"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder with ``r/x.yaml`` and the picture that it names."""
    (tmp_path / "r/pictures").mkdir(parents=True)
    (tmp_path / "r/pictures/a.jpg").write_bytes(b"")
    (tmp_path / "r/x.yaml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def faults(host: PluginHost, text: str = "", *overrides: str) -> tuple[str, ...]:
    if text:
        Path("r/x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/x.yaml", overrides, host)
    assert caught.value.exit_code == 2
    return caught.value.faults


def test_a_whole_recipe(folder: Path, host: PluginHost) -> None:
    checked = load_recipe("r/x.yaml", (), host)
    assert (checked.recipe.name, checked.recipe.steps, checked.recipe.batch, checked.recipe.seed) == ("x", 100, 2, 0)
    assert checked.recipe.style.image == folder / "r/pictures/a.jpg"
    assert checked.recipe.style.size == 512
    assert (checked.recipe.preview.every, checked.recipe.checkpoint.every) == (100, 200)
    assert checked.model == host.make_model("tiny", {"width": 6})
    assert checked.encoder == host.make_model("eye")
    assert list(checked.losses) == ["content", "smooth"]
    assert checked.losses["content"].weight == 10000.0
    assert checked.dataset == host.make_dataset("folder", {"path": folder / "r/clips"})


def test_the_recipe_as_it_runs_reads_back_from_any_folder(folder: Path, host: PluginHost) -> None:
    overrides = ["losses.content.label=first", "notes='1e4'", "licence=yes", "dataset.word='0x1F'", "dataset.more=[q, /z]", "seed=7"]
    checked = load_recipe("r/x.yaml", overrides, host)
    (folder / "run").mkdir()
    (folder / "run/recipe.yaml").write_text(checked.to_yaml())
    again = load_recipe("run/recipe.yaml", (), host)
    assert again.data == checked.data
    assert again.losses == checked.losses
    assert again.dataset == checked.dataset
    assert again.recipe.name == "x"
    assert checked.data["dataset"]["more"] == [str(folder / "q"), "/z"]
    assert (checked.recipe.notes, checked.recipe.licence) == ("1e4", "yes")
    assert checked.dataset.model_dump()["word"] == "0x1F"


def test_what_is_published_names_no_folder_of_this_machine(folder: Path, host: PluginHost) -> None:
    portable = load_recipe("r/x.yaml", ["dataset.more=[q/w.mp4]"], host).portable()
    assert portable["style"]["image"] == "a.jpg"
    assert portable["dataset"]["path"] == "clips"
    assert portable["dataset"]["more"] == ["w.mp4"]
    assert str(folder) not in str(portable)


def test_the_encoder_is_left_out_where_no_loss_needs_it(folder: Path, host: PluginHost) -> None:
    checked = load_recipe("r/x.yaml", ["losses=[{name: smooth}]"], host)
    assert checked.encoder is None
    assert checked.data["encoder"]["name"] == "eye"


def test_repeated_losses_are_numbered(folder: Path, host: PluginHost) -> None:
    losses = "losses=[{name: content}, {name: content, layer: conv}, {name: smooth, label: content}]"
    checked = load_recipe("r/x.yaml", [losses, "losses.content#2.weight=3"], host)
    assert [(label, loss.name, loss.weight) for label, loss in checked.losses.items()] == [
        ("content", "content", 1.0),
        ("content#2", "content", 3.0),
        ("content#3", "smooth", 1.0),
    ]
    assert numbered(["a", "a#2", "a"]) == ["a", "a#2", "a#3"]


def test_every_fault_at_once_each_with_its_line(folder: Path, host: PluginHost) -> None:
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
    assert faults(host, text, "batch=0", "losses.smoth.weight=1", "preview.evry=3") == (
        "r/x.yaml: steps: this setting is required",
        "r/x.yaml:2: model.width: should be a valid integer, unable to parse string as an integer, and this is 'six'",
        "r/x.yaml:4: encoder.name: no model is called 'eyes'; did you mean 'eye'? known: eye, tiny",
        f"r/x.yaml:6: style.image: there is no style image {folder / 'r/none.jpg'}",
        "r/x.yaml:7: style.size: should be greater than or equal to 16, and this is -3",
        "r/x.yaml:9: losses.0.name: no loss is called 'contant'; did you mean 'content'? known: content, smooth",
        "r/x.yaml:10: losses.1.wieght: no setting is called 'wieght'; did you mean 'weight'? known: label, tap, weight",
        "r/x.yaml:11: losses.2.name: this setting is required",
        "r/x.yaml:13: losses.3.weight: should be greater than or equal to 0, and this is -1",
        "r/x.yaml:16: dataset.size: this list is too short",
        "r/x.yaml:17: backend.name: no backend is called 'abcus'; did you mean 'abacus'? known: abacus, ready",
        "r/x.yaml:18: stesp: no setting is called 'stesp'; did you mean 'steps'? known: backend, batch, checkpoint, dataset, encoder,"
        " format, licence, losses, model, name, notes, optimiser, preview, requires, seed, steps, style",
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
def test_a_fault(folder: Path, host: PluginHost, change: tuple[str, str], fault: str) -> None:
    assert change[0] in GOOD
    found = faults(host, GOOD.replace(*change))
    assert any(fault in line for line in found), found
    if "is no int" not in fault and "means nothing" not in fault:  # a text in a number's place is a second one
        assert len(found) == 1, found


def test_losses_must_be_there(folder: Path, host: PluginHost) -> None:
    assert faults(host, "", "losses=[]") == (
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
        ("format: " + "[" * 5000, "r/x.yaml: this is nested too deeply"),
        ("a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
        ), "r/x.yaml: this holds over 100,000 values"),
    ],
)  # fmt: skip
def test_what_is_no_recipe(folder: Path, host: PluginHost, text: str, fault: str) -> None:
    (folder / "r/x.yaml").write_text(text)
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/x.yaml", (), host)
    assert caught.value.faults[0].startswith(fault)
    assert len(caught.value.faults) == 1


def test_files_that_are_no_recipe(folder: Path, host: PluginHost) -> None:
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00\x00")
    (folder / "huge.yaml").write_bytes(b"#" * 1_000_001)
    for name, said in [
        ("r", "r: this is a folder, and a recipe is a YAML file"),
        ("binary.yaml", "binary.yaml: this is no text"),
        ("huge.yaml", "huge.yaml: this has 1,000,001 bytes, which no recipe has"),
        ("r/absent.yaml", "r/absent.yaml: there is no such recipe; allowed: "),
        ("reconet_cndy", "reconet_cndy: there is no such recipe; did you mean 'reconet_candy'?; allowed: "),
    ]:
        with pytest.raises(EngineError) as caught:
            load_recipe(name, (), host)
        assert str(caught.value).startswith(said)


def test_a_byte_order_mark_is_no_fault(folder: Path, host: PluginHost) -> None:
    (folder / "r/x.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe("r/x.yaml", (), host).recipe.steps == 100


CHILD = """\
extends: ../r/x.yaml
steps: 5
model:
  width: 9
dataset: {more: [own.mp4]}
losses:
  - {name: smooth}
"""


def test_extends_merges_mappings_and_replaces_lists(folder: Path, host: PluginHost) -> None:
    (folder / "c").mkdir()
    (folder / "c/child.yaml").write_text(CHILD)
    checked = load_recipe("c/child.yaml", (), host)
    assert checked.recipe.steps == 5
    assert checked.model == host.make_model("tiny", {"width": 9})
    assert list(checked.losses) == ["smooth"]
    assert checked.recipe.style.image == folder / "r/pictures/a.jpg"  # stated by the parent
    assert checked.data["dataset"]["path"] == str(folder / "r/clips")
    assert checked.data["dataset"]["more"] == [str(folder / "c/own.mp4")]  # stated by the child, in the same block
    assert "extends" not in checked.data


def test_a_block_that_names_another_component_starts_afresh(folder: Path, host: PluginHost) -> None:
    (folder / "r/child.yaml").write_text("extends: x.yaml\nmodel: {name: eye}\n")
    assert load_recipe("r/child.yaml", (), host).model == host.make_model("eye")


def test_a_fault_names_the_file_that_states_it(folder: Path, host: PluginHost) -> None:
    (folder / "r/x.yaml").write_text(GOOD.replace("width: 6", "width: 0").replace("steps: 100", "steps: 0"))
    (folder / "r/child.yaml").write_text("extends: x.yaml\nsteps: -1\nbatch: 0\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/child.yaml", ["seed=-1"], host)
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
        ("extends: [x.yaml]\n", "r/child.yaml:1: extends: this is the path of one recipe"),
    ],
)  # fmt: skip
def test_faults_of_extends(folder: Path, host: PluginHost, text: str, fault: str) -> None:
    (folder / "r/child.yaml").write_text(text)
    (folder / "r/middle.yaml").write_text("extends: child.yaml\n")
    with pytest.raises(RecipeError) as caught:
        load_recipe("r/child.yaml", (), host)
    assert caught.value.faults == (fault,)


def test_set_changes_what_is_there_and_what_is_not(folder: Path, host: PluginHost) -> None:
    overrides = ["steps=1e3", "losses.content.weight=2e4", "losses.1.weight=7", "preview.every=5", "backend.name=ready", "notes="]
    overrides += ["style.image=r/pictures/a.jpg", "dataset.path=here"]  # from the current folder
    checked = load_recipe("r/x.yaml", overrides, host)
    assert checked.recipe.steps == 1000
    assert [loss.weight for loss in checked.losses.values()] == [20000.0, 7.0]
    assert checked.recipe.preview.every == 5
    assert checked.make_backend(host).name == "ready"
    assert checked.recipe.notes == ""
    assert checked.recipe.style.image == folder / "r/pictures/a.jpg"
    assert checked.data["dataset"]["path"] == str(folder / "here")


@pytest.mark.parametrize(
    ("setting", "fault"),
    [
        ("stps=3", "--set stps=3: stps: no setting is called 'stps'; did you mean 'steps'? known: "),
        ("model.wdth=3", "--set model.wdth=3: model.wdth: no setting is called 'wdth'; did you mean 'width'? known: width"),
        ("a.b.c=3", "--set a.b.c=3: a: no setting is called 'a'; known: "),
        ("steps.x=3", "--set steps.x=3: steps.x: steps is one value and holds no 'x'"),
        ("losses.2.weight=3", "--set losses.2.weight=3: losses.2: there is no item '2'; known: content, smooth, 0 to 1"),
        ("losses.-1.weight=3", "--set losses.-1.weight=3: losses.-1: there is no item '-1'; known: "),
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
def test_faults_of_set(folder: Path, host: PluginHost, setting: str, fault: str) -> None:
    found = faults(host, "", setting)
    assert found[0].startswith(fault), found
    assert len(found) == 1


def test_another_backend_does_not_inherit_the_settings_of_the_recipes(folder: Path, host: PluginHost) -> None:
    (folder / "r/x.yaml").write_text(GOOD + "backend: {name: abacus, rows: 3, precision: float32}\n")
    stated = load_recipe("r/x.yaml", (), host)
    assert stated.data["backend"] == {"name": "abacus", "rows": 3, "device": "auto", "precision": "float32"}
    with pytest.raises(EngineError, match="the backend 'abacus' needs no_such_framework, which is not installed"):
        stated.make_backend(host)
    chosen = load_recipe("r/x.yaml", (), host, backend="ready", device="cpu")
    assert chosen.make_backend(host) == host.make_backend("ready", device="cpu", precision="float32")
    assert load_recipe("r/x.yaml", (), host, backend="abacus").data["backend"]["rows"] == 3
    assert load_recipe("r/x.yaml", (), host, backend="auto").data["backend"] == {"name": "auto", "device": "auto", "precision": "float32"}
    with pytest.raises(RecipeError, match=r"^--backend redy: backend\.name: no backend is called 'redy'; did you mean 'ready'\?"):
        load_recipe("r/x.yaml", (), host, backend="redy")


def test_shipped_recipes_are_without_fault() -> None:
    host = load_plugins()
    for summary in list_recipes():
        assert summary.error == ""
        checked = load_recipe(summary.name, (), host)
        assert isinstance(checked, CheckedRecipe)
        assert tuple(loss.name for loss in checked.losses.values()) == summary.losses


def test_a_path_wins_over_a_shipped_name(folder: Path, host: PluginHost) -> None:
    shipped = next(iter(list_recipes())).name
    (folder / shipped).write_text(GOOD.replace("pictures", "r/pictures"))
    assert load_recipe(shipped, (), host).recipe.steps == 100
