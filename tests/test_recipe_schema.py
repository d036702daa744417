"""The JSON schema of a recipe: what editors complete and check with."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from plugin_site import LOSS, Site

from engine.cli import main
from engine.plugins import load_plugins
from engine.recipe import Block, SharedBlock
from engine.recipe_schema import recipe_schema
from engine.recipe_source import shipped_recipes
from engine.registration import RESERVED
from engine.yaml_lines import read_yaml

ROOT = Path(__file__).parents[1]
WHOLE = """
format: 1
model: {name: reconet}
style: {image: a.png}
losses: [{name: total_variation}]
dataset: {name: moving_layers}
steps: 1
"""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    made = recipe_schema(load_plugins(first_party_only=True))
    Draft202012Validator.check_schema(made)
    return made


def faults(schema: dict[str, Any], text: str) -> list[str]:
    data = read_yaml(text, "recipe", ROOT).root.plain()
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(data)]


@pytest.mark.parametrize("name", shipped_recipes())
def test_shipped_recipes_fit_and_name_the_schema_beside_them(schema: dict[str, Any], name: str) -> None:
    path = shipped_recipes()[name]
    text = path.read_text("utf-8")
    assert faults(schema, text) == []
    (line,) = [line for line in text.splitlines() if line.startswith("# yaml-language-server: $schema=")]
    assert (path.parent / line.partition("=")[2]).is_file()


def test_the_shipped_schema_is_the_generated_one(schema: dict[str, Any]) -> None:
    shipped = json.loads((ROOT / "recipes" / "recipe.schema.json").read_text("utf-8"))
    assert shipped == schema, "make it anew: engine --no-plugins recipes schema -o recipes/recipe.schema.json"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("model: {name: reconet}", "model: {name: reconet, width: 8}\nencoder: {name: vgg16, weights: vgg.pth}"),
        ("dataset: {name: moving_layers}", "dataset: [{name: moving_layers, share: 2}, {name: images, path: photos}]"),
        ("steps: 1", "steps: 1e3\nbackend: {device: cpu}\naugment: {flip: 0.5}"),
        ("steps: 1", "steps: 1\nbackend: {name: auto, precision: float32}\nencoder: null"),
    ],
)
def test_what_the_reader_takes_fits(schema: dict[str, Any], old: str, new: str) -> None:
    assert faults(schema, WHOLE) == []
    assert old in WHOLE
    assert faults(schema, WHOLE.replace(old, new)) == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("steps: 1", "", "$: 'steps' is a required property"),
        ("steps: 1", "steps: 0", "$.steps: 0 is less than the minimum of 1"),
        ("steps: 1", "steps: 1\nstep: 2", "$: Additional properties are not allowed ('step' was unexpected)"),
        ("name: total_variation", "name: total_variatoin", "$.losses[0].name: 'total_variatoin' is not one of ["),
        ("{name: total_variation}", "{weight: 1}", "$.losses[0]: 'name' is a required property"),
        ("name: total_variation", "name: total_variation, weigth: 1", "('weigth' was unexpected)"),
        ("[{name: total_variation}]", "[]", "$.losses: [] "),
        ("name: reconet", "name: reconet, width: wide", "$.model.width: 'wide' is not of type 'integer'"),
        ("name: reconet", "width: 4", "$.model: 'name' is a required property"),
        ("image: a.png", "size: 64", "$.style: 'image' is a required property"),
        ("name: moving_layers", "name: moving_layers, share: 2", "('share' was unexpected)"),
        ("name: moving_layers", "name: images", "$.dataset: 'path' is a required property"),
        ("{name: moving_layers}", "[{name: images}]", "$.dataset[0]: 'path' is a required property"),
    ],
)
def test_what_the_reader_refuses_does_not_fit(schema: dict[str, Any], old: str, new: str, said: str) -> None:
    assert old in WHOLE
    (fault,) = faults(schema, WHOLE.replace(old, new))
    assert said in fault


def test_a_recipe_that_extends_another_leaves_out_what_it_inherits(schema: dict[str, Any]) -> None:
    assert faults(schema, "extends: a.yaml\nstyle: {size: 64}\nmodel: {width: 8}\ndataset: {name: images}") == []
    assert faults(schema, "extends: a.yaml\nsteps: none") == ["$.steps: 'none' is not of type 'integer'"]
    (fault,) = faults(schema, "extends: a.yaml\nlosses: [{weight: 2}]")  # a list is replaced, not merged
    assert fault == "$.losses[0]: 'name' is a required property"


def test_losses_by_label_fit_where_a_recipe_extends_another(schema: dict[str, Any]) -> None:
    changes = "losses: {style: {weight: 2}, extra: {name: content, layer: relu2_2}, content: null}"
    assert faults(schema, f"extends: a.yaml\n{changes}") == []
    assert faults(schema, WHOLE.replace("losses: [{name: total_variation}]", changes))[0].startswith("$.losses: ")
    (fault,) = faults(schema, "extends: a.yaml\nlosses: {extra: {name: content, lair: relu2_2}}")
    assert "('lair' was unexpected)" in fault


def test_every_setting_is_described_for_the_editor(schema: dict[str, Any]) -> None:
    silent = [
        f"{name}.{key}"
        for name, part in schema["$defs"].items()
        for key, field in part.get("properties", {}).items()
        if key != "name" and "description" not in field
    ]
    assert silent == []
    assert schema["$defs"]["loss.content"]["properties"]["weight"]["default"] == 1e4
    assert [key for key, field in schema["properties"].items() if "description" not in field and "$ref" not in field] == []


def test_the_command_writes_it_with_strangers_and_plugin_files(site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site.install("stranger", LOSS.format(name="strange"))
    (tmp_path / "mine.py").write_text(LOSS.format(name="mine"))

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["recipes", "schema", *words])
        return int(ended.value.code or 0)

    assert run("--plugin", str(tmp_path / "mine.py")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {"strange", "mine", "content"} <= set(printed["$defs"]["loss"]["properties"]["name"]["enum"])
    for _ in range(2):  # over an older one
        assert run("-o", str(tmp_path / "recipe.schema.json")) == 0
    assert "strange" in json.loads((tmp_path / "recipe.schema.json").read_text())["$defs"]["loss"]["properties"]["name"]["enum"]
    assert run("-o", str(tmp_path / "mine.yaml")) == 2
    assert not (tmp_path / "mine.yaml").exists()


ODD = """
from engine import Field, Loss, Needs, hookimpl

class Odd(Loss):
    'Nothing but a test.'
    name = "odd"
    thing: object = Field(default=object(), description="Of no type that JSON has.")
    made: float = Field(default_factory=lambda: 1 / 0, description="Made anew.")
    low: float = Field(default=0.0, examples=[float("inf")], description="With an example that JSON has not.")

    def needs(self):
        return Needs()

    def __call__(self, ops, clip, prepared): ...

@hookimpl
def engine_register_losses():
    return [Odd]
"""


def test_defaults_and_examples_that_json_has_not(site: Site, capsys: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder) -> None:
    site.install("odd", ODD)
    site.install("odder", ODD.replace("odd", "odder").replace('examples=[float("inf")], ', ""))

    def run(*words: str) -> tuple[str, str]:
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert not ended.value.code
        return capsys.readouterr()

    out, err = run("recipes", "schema")
    definitions = json.loads(out, parse_constant=lambda word: pytest.fail(word))["$defs"]
    assert definitions["loss.odd"]["properties"]["low"]["description"] == "With an example that JSON has not."
    said = "warning: loss odd: any value passes, because the settings of odd have no JSON schema: Out of range float values are not JSON"
    assert err.startswith(said)
    assert definitions["loss.odder"]["properties"]["low"]["default"] == 0.0
    assert "default" not in definitions["loss.odder"]["properties"]["thing"]
    out, err = run("plugins", "show", "loss", "odd")
    assert "made: float (made anew for each; here that fails: ZeroDivisionError: division by zero)\n" in out
    assert json.loads(run("plugins", "show", "loss", "odder", "--json")[0])["name"] == "odder"
    assert not recwarn.list


def test_no_setting_of_a_dataset_has_the_name_of_one_of_the_mix() -> None:
    assert set(RESERVED["dataset"]) == set(SharedBlock.model_fields) - set(Block.model_fields)


def test_the_schema_needs_no_framework() -> None:
    code = (
        "import sys; from engine.plugins import load_plugins\n"
        "from engine.recipe_schema import recipe_schema; recipe_schema(load_plugins());"
        "print(*{'torch', 'mindspore', 'cv2', 'av'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
