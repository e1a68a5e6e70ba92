"""Recipes: what is refused, in which words, and what is overridden."""

from pathlib import Path

import pytest

from ablate2tune.compare.judges.trained import TrainedConfig
from ablate2tune.compare.judges.zero_shot import ZeroShotConfig
from ablate2tune.errors import UserError
from ablate2tune.recipe import load_recipe, overridden

ROOT = Path(__file__).parents[1]
MINIMAL = "name: demo\nmodel: {path: some/model}\n"


def recipe_file(folder: Path, text: str = MINIMAL) -> Path:
    path = folder / "demo.yaml"
    path.write_text(text)
    return path


def test_defaults_and_folders(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path))
    assert recipe.run_folder == Path("runs/demo")
    assert recipe.data_folder == Path("data/demo")
    assert recipe.train.rank == 16


def test_override_changes_one_value(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path), ["train.steps=7", "seed=3", "localize.mode=zero"])
    assert (recipe.train.steps, recipe.seed, recipe.localize.mode) == (7, 3, "zero")


@pytest.mark.parametrize(("written", "word"), [("off", "off"), ("on", "on"), ('"off"', "off")])
def test_on_and_off_need_no_quotes_in_yaml(tmp_path: Path, written: str, word: str) -> None:
    text = f"{MINIMAL}localize:\n  screening: {written}\n"
    assert load_recipe(recipe_file(tmp_path, text)).localize.screening == word
    assert load_recipe(recipe_file(tmp_path), ["compare.wandb=off"]).compare.wandb == "off"


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("localize.race_top=4", ["localize.race_top is gone", "as many places as train.count"]),
        ("localize.own.min_groups=4", ["localize.own.min_groups is gone", "fewer than 16"]),
        ("localize.sigmas=[]", ["localize.sigmas"]),
        ("localize.sigmas=[0.9, 0.8, 0.9]", ["a noise level comes twice"]),
        ("localize.bootstrap=1", ["bootstrap = 1", "must be 40 or more"]),
        ("compare.bootstrap=1", ["compare: bootstrap = 1", "must be 40 or more"]),
        ("compare.confidence=0.9999", ["compare: bootstrap = 2000 draws no interval"]),
        ("train.stepz=7", ["unknown key 'train.stepz'", "did you mean 'steps'"]),
        ("trian.steps=7", ["unknown key 'trian'", "did you mean 'train'"]),
        ("train.steps=many", ["train.steps = 'many'", "integer"]),
        ("train.rank=true", ["train.rank = True", "a number"]),
        ("train.budget=abc", ["train.budget = 'abc': input should be a", "or String should match"]),
        ("localize=3", ["localize = 3: input should be a valid dictionary"]),
        ("localize=[a]", ["localize = ['a']: input should be a valid dictionary"]),
        ("train.int=3", ["unknown key 'train.int'"]),
        ("train.steps=0", ["train.steps = 0", "greater than 0"]),
        ("train.learning_rate=.nan", ["train.learning_rate = nan: input should be a finite"]),
        ("compare.arms={a/../../b: null}", ["compare.arms: 'a/../../b' is no name here: string"]),
        ("scenes.images=0", ["scenes.images = 0"]),
        ("scenes.images=7", ["even"]),
        ("compare.prompts=0", ["compare.prompts = 0"]),
        ("scenes.objects=[bal]", ["unknown object 'bal'", "did you mean 'ball'"]),
        ("scenes.relations=[behnd]", ["unknown relation 'behnd'", "did you mean 'behind'"]),
        ("scenes.relations=[behind]", ["opposite 'in front of'"]),
        ("scenes.colours=[red]", ["at least two"]),
        ("localize.mode=median", ["localize.mode = 'median'", "'mean'"]),
        ("name=../evil", ["name = '../evil'"]),
        ("compare.judge=3", ["compare.judge = 3", "path"]),
        ("compare.judge.threshhold=0.3", ["compare.judge.threshhold", "'threshold'"]),
        ("compare.judge.kind=owl", ["compare.judge", "no judge 'owl'", "trained, zero-shot"]),
        ("compare.judge.threshold=3", ["compare.judge.threshold = 3"]),
        ("compare.judge.query=a photo", ["compare.judge.query = 'a photo'", "once"]),
        ("compare.jugde=null", ["unknown key 'compare.jugde'", "did you mean 'judge'"]),
        ("train", ["KEY=VALUE"]),
        ("train={rank: 4, rank: 5}", ["command line, train: key 'rank' comes twice"]),
        ("name=2026-02-30", ["command line, name: '2026-02-30' is not a YAML value"]),
        ("name.x=1", ["holds a value"]),
    ],
)
def test_bad_override_is_one_line(tmp_path: Path, override: str, words: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe_file(tmp_path), [override])
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_a_word_that_yaml_takes_for_a_truth_value(tmp_path: Path) -> None:
    recipe = load_recipe(recipe_file(tmp_path), ["scenes.perspective=true"])
    assert recipe.scenes.perspective == "true"


def test_a_judge_is_a_folder_a_mapping_or_nothing(tmp_path: Path) -> None:
    path = recipe_file(tmp_path)
    assert load_recipe(path).compare.judge is None
    assert load_recipe(path, ["compare.judge=a/folder"]).compare.judge == TrainedConfig(
        folder=Path("a/folder")
    )
    judge = load_recipe(path, ["compare.judge.depth=a/b", "compare.judge.threshold=0.3"])
    assert judge.compare.judge == ZeroShotConfig(depth="a/b", threshold=0.3)
    path = recipe_file(tmp_path, f"{MINIMAL}compare:\n  judge: {{threshold: 0.4}}\n")
    assert load_recipe(path).compare.judge == ZeroShotConfig(threshold=0.4)
    assert load_recipe(path, ["compare.judge=null"]).compare.judge is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("- a list\n", "mapping"),
        ("a: [1\n", "not valid YAML"),
        (
            f"{MINIMAL}train: {{rank: 4}}\nseed: 1\ntrain: {{steps: 5}}\n",
            r"demo\.yaml: key 'train' comes twice, in lines 3 and 5",
        ),
        (f"{MINIMAL}train:\n  rank: 4\n  rank: 5\n", "'rank' comes twice, in lines 4 and 5"),
        ("name: demo\n", "model is missing"),
        ("name: 2026-02-30\n", "not valid YAML"),
        ("!!python/object/apply:os.system ['true']\n", "not valid YAML"),
    ],
)
def test_bad_file(tmp_path: Path, text: str, word: str) -> None:
    with pytest.raises(UserError, match=word):
        load_recipe(recipe_file(tmp_path, text))


def test_home_is_expanded(tmp_path: Path) -> None:
    path = recipe_file(tmp_path, "name: demo\nmodel: {path: ~/model}\ncompare: {judge: ~/j}\n")
    recipe = load_recipe(path, ["runs=~/runs"])
    home = Path.home()
    assert recipe.model.path == str(home / "model")
    assert recipe.compare.judge is not None and recipe.runs == home / "runs"
    assert recipe.compare.judge.model_dump()["folder"] == home / "j"


def test_missing_file_names_near_ones(tmp_path: Path) -> None:
    recipe_file(tmp_path)
    with pytest.raises(UserError, match=r"no such recipe.*demo\.yaml"):
        load_recipe(tmp_path / "demmo.yaml")


def test_shipped_recipes_are_valid() -> None:
    from ablate2tune.recipe import load_settings
    from ablate2tune.testbed.testbed_recipe import TestbedRecipe

    recipes = Path(__file__).parent.parent / "recipes"
    pretraining = recipes / "testbed-pretrain.yaml"
    load_settings(TestbedRecipe, pretraining, [])
    others = [path for path in recipes.glob("*.yaml") if path != pretraining]
    assert len(others) >= 2
    for path in others:
        load_recipe(path)


def test_overridden_is_what_writing_the_keys_gives() -> None:
    path = ROOT / "recipes" / "testbed.yaml"
    values = {"train.rank": 4, "seed": 7, "compare.arms": {"bare": {}}, "localize.own.seeds": 3}
    written = ["train.rank=4", "seed=7", "compare.arms={bare: }", "localize.own.seeds=3"]
    assert overridden(load_recipe(path), values, "study.axes") == load_recipe(path, written)
    with pytest.raises(UserError, match=r"^study.axes: unknown key 'train.rnk'; did you mean"):
        overridden(load_recipe(path), {"train.rnk": 4}, "study.axes")
