from pathlib import Path

import pytest

from lookahead_router.errors import ConfigurationError
from lookahead_router.training.demand_recipe import DemandRecipe, read_recipe
from lookahead_router.training.recipe import Recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_and_survives_a_round_trip(path):
    kind = DemandRecipe if "\nkind: demands\n" in path.read_text() else Recipe
    recipe = read_recipe(path)
    assert recipe == kind.from_yaml(path)
    assert recipe.name == path.stem
    assert kind(**recipe.model_dump()) == recipe
    assert any("Built with Llama" in term for term in recipe.card.terms)  # its predictor may be published
    assert recipe.name.startswith("Llama")  # as those terms ask


def test_a_recipe_survives_its_yaml(tmp_path):
    recipe = Recipe.from_yaml(next(path for path in RECIPES if "mlm" in path.stem))
    (tmp_path / "again.yaml").write_text(recipe.to_yaml())
    assert Recipe.from_yaml(tmp_path / "again.yaml").training_settings() == recipe.training_settings()


def test_the_recipe_of_the_guide_is_one(tmp_path):
    guide = (Path(__file__).parents[2] / "docs" / "training.md").read_text()
    (tmp_path / "my-recipe.yaml").write_text(guide.partition("```yaml\n")[2].partition("```")[0])
    assert Recipe.from_yaml(tmp_path / "my-recipe.yaml").data.exclude_sources == ()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("name: r\nbackbone: org/b\noptimizer:\n  n_epochs: 3\n")
    return path


def test_overrides_reach_nested_settings(path):
    recipe = Recipe.from_yaml(path, ["optimizer.learning_rate=1e-5", "network.n_slots=0", "objective.threshold=null"])
    assert recipe.optimizer.learning_rate == 1e-5
    assert recipe.optimizer.n_epochs == 3
    assert recipe.network.n_slots == 0
    assert recipe.objective.threshold is None


def test_overrides_reach_into_a_section_that_a_run_left_out(path):
    path.write_text(Recipe.from_yaml(path).to_yaml())  # as in run.yaml: `refit: null`
    recipe = Recipe.from_yaml(path, ["refit.n_epochs=3", "network.lora.rank=4"])
    assert recipe.refit.n_epochs == 3
    assert recipe.network.lora.rank == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.learning_rat=1", "optimizer: .*learning_rat: "),
        ("optimizer.learning_rate=-1", "greater than 0"),
        ("network.n_slots=many", "network: .*n_slots: "),
        ("name.x=1", "name is no section"),
        ("nonsense", "section.setting=value"),
        ("network.readout=cls+latents", "readout"),
        ("objective.threshold=[", "objective.threshold"),
        (f"objective.threshold={'[' * 500}", "objective.threshold"),
    ],
)
def test_a_wrong_override_is_named(path, override, message):
    with pytest.raises(ConfigurationError, match=message):
        Recipe.from_yaml(path, [override])


@pytest.mark.parametrize(
    "text", ["- a list", "name: [", "", "[" * 500, "1: 2", "? \n: 2", "name: 2020-99-99", "name: a\nname: b"]
)
def test_a_file_that_is_no_recipe_is_an_error(tmp_path, text):
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(ConfigurationError, match=r"x\.yaml"):
        Recipe.from_yaml(tmp_path / "x.yaml")


def test_a_missing_recipe_is_an_error(tmp_path):
    with pytest.raises(ConfigurationError, match="No such file"):
        Recipe.from_yaml(tmp_path / "none.yaml")
