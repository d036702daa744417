"""Recipes: what they say, what they inherit, and what is set over them."""

from pathlib import Path

import pytest
from recipe_texts import GOOD

from engine.errors import EngineError, RecipeError
from engine.plugins import PluginHost, load_plugins
from engine.recipe import CheckedRecipe, load_recipe
from engine.recipe_source import find_recipe, list_recipes, numbered, read_recipe

WANTS_FOLDER = {
    "reconet_candy_shipped": "dataset.photos",  # that recipes/collect_photos.py makes
    "reconet_candy_paper": "dataset.roots",  # SceneFlow
}


def test_a_whole_recipe(recipe_folder: Path, recipe_host: PluginHost) -> None:
    checked = load_recipe("r/x.yaml", (), recipe_host)
    assert (checked.recipe.name, checked.recipe.steps, checked.recipe.batch, checked.recipe.seed) == ("x", 100, 2, 0)
    assert checked.recipe.style.image == recipe_folder / "r/pictures/a.jpg"
    assert checked.recipe.style.size == 512
    assert (checked.recipe.preview.every, checked.recipe.checkpoint.every) == (100, 200)
    assert checked.model == recipe_host.make_model("tiny", {"width": 6})
    assert checked.encoder == recipe_host.make_model("eye")
    assert list(checked.losses) == ["content", "smooth"]
    assert checked.losses["content"].weight == 10000.0
    assert checked.dataset == recipe_host.make_dataset("folder", {"path": recipe_folder / "r/clips"})


def test_the_recipe_as_it_runs_reads_back_from_any_folder(recipe_folder: Path, recipe_host: PluginHost) -> None:
    overrides = [
        "losses.content.label=first",
        "notes='1e4'",
        "licence=yes",
        "dataset.word='0x1F'",
        f"dataset.more=[run, {recipe_folder}]",
        "seed=7",
    ]
    (recipe_folder / "run").mkdir()
    checked = load_recipe("r/x.yaml", overrides, recipe_host)
    (recipe_folder / "run/recipe.yaml").write_text(checked.to_yaml())
    again = load_recipe("run/recipe.yaml", (), recipe_host)
    assert again.data == checked.data
    assert again.losses == checked.losses
    assert again.dataset == checked.dataset
    assert again.recipe.name == "x"
    assert checked.data["dataset"]["more"] == [str(recipe_folder / "run"), str(recipe_folder)]
    assert (checked.recipe.notes, checked.recipe.licence) == ("1e4", "yes")
    assert checked.dataset.model_dump()["word"] == "0x1F"


def test_what_is_published_names_no_folder_of_this_machine(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "w.mp4").write_bytes(b"")
    portable = load_recipe("r/x.yaml", ["dataset.more=[w.mp4]"], recipe_host).portable()
    assert portable["style"]["image"] == "a.jpg"
    assert portable["dataset"]["path"] == "clips"
    assert portable["dataset"]["more"] == ["w.mp4"]
    assert str(recipe_folder) not in str(portable)


def test_the_encoder_is_left_out_where_no_loss_needs_it(recipe_folder: Path, recipe_host: PluginHost) -> None:
    checked = load_recipe("r/x.yaml", ["losses=[{name: smooth}]"], recipe_host)
    assert checked.encoder is None
    assert checked.data["encoder"]["name"] == "eye"


def test_repeated_losses_are_numbered(recipe_folder: Path, recipe_host: PluginHost) -> None:
    losses = "losses=[{name: content}, {name: content, layer: conv}, {name: smooth, label: content}]"
    checked = load_recipe("r/x.yaml", [losses, "losses.content#2.weight=3"], recipe_host)
    assert [(label, loss.name, loss.weight) for label, loss in checked.losses.items()] == [
        ("content", "content", 1.0),
        ("content#2", "content", 3.0),
        ("content#3", "smooth", 1.0),
    ]
    assert numbered(["a", "a#2", "a"]) == ["a", "a#2", "a#3"]


def test_a_byte_order_mark_is_no_fault(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/x.yaml").write_bytes(b"\xef\xbb\xbf" + GOOD.encode())
    assert load_recipe("r/x.yaml", (), recipe_host).recipe.steps == 100


CHILD = """\
extends: ../r/x.yaml
steps: 5
model:
  width: 9
dataset: {more: [own.mp4]}
losses:
  - {name: smooth}
"""


def test_extends_merges_mappings_and_replaces_lists(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "c").mkdir()
    (recipe_folder / "c/child.yaml").write_text(CHILD)
    (recipe_folder / "c/own.mp4").write_bytes(b"")
    checked = load_recipe("c/child.yaml", (), recipe_host)
    assert checked.recipe.steps == 5
    assert checked.model == recipe_host.make_model("tiny", {"width": 9})
    assert list(checked.losses) == ["smooth"]
    assert checked.recipe.style.image == recipe_folder / "r/pictures/a.jpg"  # stated by the parent
    assert checked.data["dataset"]["path"] == str(recipe_folder / "r/clips")
    assert checked.data["dataset"]["more"] == [str(recipe_folder / "c/own.mp4")]  # stated by the child, in the same block
    assert "extends" not in checked.data


@pytest.mark.parametrize(
    ("losses", "wanted"),
    [
        ("{content: {weight: 5}}", [("content", "content", 5.0), ("smooth", "smooth", 1.0)]),
        ("{content: null}", [("smooth", "smooth", 1.0)]),
        (
            "{content: {name: smooth, weight: 3}, extra: {name: content, layer: conv}, content#2: {weight: 4, name: content}}",
            [("smooth", "smooth", 3.0), ("smooth#2", "smooth", 1.0), ("extra", "content", 1.0), ("content#2", "content", 4.0)],
        ),
    ],
)
def test_losses_by_label_change_add_to_and_leave_out_the_parents(
    recipe_folder: Path, recipe_host: PluginHost, losses: str, wanted: list[tuple[str, str, float]]
) -> None:
    (recipe_folder / "r/child.yaml").write_text(f"extends: x.yaml\nlosses: {losses}\n")
    (recipe_folder / "r/grandchild.yaml").write_text("extends: child.yaml\nsteps: 3\n")
    for name in ("child", "grandchild"):
        checked = load_recipe(f"r/{name}.yaml", (), recipe_host)
        assert [(label, loss.name, loss.weight) for label, loss in checked.losses.items()] == wanted


def test_a_loss_that_is_added_is_called_by_its_name(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/x.yaml").write_text(GOOD.replace("  - name: content\n    weight: 1e4\n", ""))
    (recipe_folder / "r/child.yaml").write_text("extends: x.yaml\nlosses: {content: {weight: 7, layer: conv}}\n")
    checked = load_recipe("r/child.yaml", (), recipe_host)
    assert list(checked.losses) == ["smooth", "content"]
    assert (checked.losses["content"].name, checked.losses["content"].weight) == ("content", 7)


def test_a_block_that_names_another_component_starts_afresh(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/child.yaml").write_text("extends: x.yaml\nmodel: {name: eye}\n")
    assert load_recipe("r/child.yaml", (), recipe_host).model == recipe_host.make_model("eye")


def test_set_changes_what_is_there_and_what_is_not(recipe_folder: Path, recipe_host: PluginHost) -> None:
    overrides = ["steps=1e3", "losses.content.weight=2e4", "losses.1.weight=7", "preview.every=5", "backend.name=ready", "notes="]
    overrides += ["style.image=r/pictures/a.jpg", "dataset.path=r"]  # from the current folder
    checked = load_recipe("r/x.yaml", overrides, recipe_host)
    assert checked.recipe.steps == 1000
    assert [loss.weight for loss in checked.losses.values()] == [20000.0, 7.0]
    assert checked.recipe.preview.every == 5
    assert checked.make_backend(recipe_host).name == "ready"
    assert checked.recipe.notes == ""
    assert checked.recipe.style.image == recipe_folder / "r/pictures/a.jpg"
    assert checked.data["dataset"]["path"] == str(recipe_folder / "r")


def test_another_backend_does_not_inherit_the_settings_of_the_recipes(recipe_folder: Path, recipe_host: PluginHost) -> None:
    (recipe_folder / "r/x.yaml").write_text(GOOD + "backend: {name: abacus, rows: 3, precision: float32}\n")
    stated = load_recipe("r/x.yaml", (), recipe_host)
    assert stated.data["backend"] == {"name": "abacus", "rows": 3, "device": "auto", "precision": "float32"}
    with pytest.raises(EngineError, match="the backend 'abacus' needs no_such_framework, which is not installed"):
        stated.make_backend(recipe_host)
    chosen = load_recipe("r/x.yaml", (), recipe_host, backend="ready", device="cpu")
    assert chosen.make_backend(recipe_host) == recipe_host.make_backend("ready", device="cpu", precision="float32")
    assert load_recipe("r/x.yaml", (), recipe_host, backend="abacus").data["backend"]["rows"] == 3
    assert load_recipe("r/x.yaml", (), recipe_host, backend="auto").data["backend"] == {
        "name": "auto",
        "device": "auto",
        "precision": "float32",
    }
    with pytest.raises(RecipeError, match=r"^--backend redy: backend\.name: no backend is called 'redy'; did you mean 'ready'\?"):
        load_recipe("r/x.yaml", (), recipe_host, backend="redy")


def test_shipped_recipes_are_without_fault(tmp_path: Path) -> None:
    host = load_plugins()
    for summary in list_recipes():
        assert summary.error == ""
        folder = [f"{WANTS_FOLDER[summary.name]}={tmp_path}"] if summary.name in WANTS_FOLDER else []
        checked = load_recipe(summary.name, folder, host)
        assert isinstance(checked, CheckedRecipe)
        assert tuple(checked.losses) == summary.losses


@pytest.mark.parametrize(
    ("name", "encoder", "content", "style"), [("reconet_candy_ascend", "vgg16", 1e5, 1e3), ("reconet_candy_vgg16_bn", "vgg16_bn", 1e5, 1e5)]
)
def test_the_loss_weights_that_others_publish(name: str, encoder: str, content: float, style: float) -> None:
    checked = load_recipe(name, (), load_plugins(), backend="torch")
    assert checked.encoder is not None
    assert checked.encoder.name == encoder
    weights = {label: loss.weight for label, loss in checked.losses.items()}
    temporal = {"feature_temporal": 1e5, "output_temporal": 2e5}
    assert weights == {"content": content, "style": style, "total_variation": 1e-5} | temporal
    assert (checked.recipe.optimiser.learning_rate, checked.recipe.optimiser.decay, checked.recipe.batch) == (1e-3, 0, 2)


def test_the_papers_recipe(tmp_path: Path) -> None:
    checked = load_recipe("reconet_candy_paper", [f"dataset.roots={tmp_path}"], load_plugins(), backend="torch")
    weights = {label: loss.weight for label, loss in checked.losses.items()}
    assert weights == {"content": 1e4, "style": 1e5, "total_variation": 1e-5, "feature_temporal": 1e5, "output_temporal": 2e5}
    recipe = checked.recipe
    assert (recipe.steps, recipe.batch, recipe.optimiser.learning_rate, recipe.optimiser.decay) == (32724, 2, 1e-3, 0)
    stated = checked.data
    assert (stated["model"]["width"], stated["model"]["residual_blocks"]) == (48, 4)
    data = stated["dataset"]
    assert (data["split"], data["sides"], data["render_pass"], data["width"], data["height"]) == ("both", "left", "finalpass", 640, 360)
    assert (stated["augment"]["flip"], stated["augment"]["versions"]) == (0.5, recipe.steps * recipe.batch // 32724)


def test_the_recipe_for_ascend_asks_for_it() -> None:
    assert read_recipe(find_recipe("reconet_candy_ascend")).root.plain()["backend"] == {"name": "mindspore", "device": "ascend"}


def test_a_path_wins_over_a_shipped_name(recipe_folder: Path, recipe_host: PluginHost) -> None:
    shipped = next(iter(list_recipes())).name
    (recipe_folder / shipped).write_text(GOOD.replace("pictures", "r/pictures").replace("clips", "r/clips"))
    assert load_recipe(shipped, (), recipe_host).recipe.steps == 100


def test_a_recipe_extends_a_shipped_one_by_name_and_a_path_beside_it_wins(recipe_folder: Path) -> None:
    child = recipe_folder / "r/child.yaml"
    child.write_text("extends: reconet_candy\nsteps: 5\n")
    merged = read_recipe(child).root.plain()
    assert merged == read_recipe(find_recipe("reconet_candy")).root.plain() | {"steps": 5}
    (recipe_folder / "r/reconet_candy").write_text(GOOD)
    assert read_recipe(child).root.plain() == read_recipe(recipe_folder / "r/x.yaml").root.plain() | {"steps": 5}
