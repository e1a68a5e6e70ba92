"""A package outside adds one of each kind, each in one file, and the command line runs them."""

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from rendered_set import RECIPE, SMALL, write_rendered

from ablate2tune.errors import UserError
from ablate2tune.recipe import load_recipe
from ablate2tune.scenes.rendering.render import render_dataset

TESTS = Path(__file__).parent
ENTRY_POINT = "[ablate2tune]\nmore = my_extension\n"
INIT = """
from pathlib import Path
from my_extension import {modules}
from ablate2tune.scenes.assets.asset_folders import ASSET_FOLDERS

ASSET_FOLDERS.add("more", Path(__file__).parent / "assets")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the package of all `example_*.py`, as pip would leave it."""
    site = tmp_path_factory.mktemp("site")
    package, info = site / "my_extension", site / "my_extension-1.0.dist-info"
    (package / "assets").mkdir(parents=True)
    info.mkdir()
    modules = []
    for example in sorted(TESTS.rglob("example_*.py")):
        name = example.stem.removeprefix("example_")
        if name in ("asset", "world"):
            shutil.copy(example, package / "assets" / f"my_{name}.py")
        else:
            shutil.copy(example, package / f"my_{name}.py")
            modules.append(f"my_{name}")
    (package / "__init__.py").write_text(INIT.format(modules=", ".join(modules)))
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-extension\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINT)
    return site


@pytest.fixture
def run(installed: Path, tmp_path: Path, tiny_flux_folder: Path):
    """Runs a command on the small recipe and its data set, with the package installed or not."""
    places = [f"model.path={tiny_flux_folder}", f"data={tmp_path}/data", f"runs={tmp_path}/runs"]
    settings = [*SMALL, *places, "compare.judge=null"]
    recipe = load_recipe(RECIPE, settings)
    write_rendered(recipe)
    render_dataset(recipe.scenes, recipe.seed, recipe.data_folder)  # writes the index

    def command(name: str, *more: str, code: int = 0, extended: bool = True) -> str:
        if not extended:  # here, where the package is not on the path
            with pytest.raises(UserError) as refused:
                load_recipe(RECIPE, [*settings, *more])
            return str(refused.value)
        paths = [str(TESTS.parent), str(installed)]
        done = subprocess.run(
            [sys.executable, "-m", "ablate2tune", name, str(RECIPE), *settings, *more],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    return command


def test_a_mode_a_family_and_a_finding(run, tmp_path: Path, tiny_flux_folder: Path) -> None:
    model = tmp_path / "kontext"
    shutil.copytree(tiny_flux_folder, model)
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(
        json.dumps(index | {"_class_name": "FluxKontextPipeline"})
    )
    added = [f"model.path={model}", "localize.mode=half", "localize.rank_by=gradient"]
    assert "half" in run("localize", *added, extended=False)
    run("localize", *added)
    rows = (tmp_path / "runs" / "tiny" / "localize" / "results.jsonl").read_text().splitlines()
    assert "half" in {json.loads(row)["mode"] for row in rows}
    profile = json.loads((tmp_path / "runs" / "tiny" / "localize" / "profile.json").read_text())
    assert profile["blocks"][0] == "transformer_blocks.0"


def test_a_judge_and_a_metric(run, tmp_path: Path) -> None:
    """Between two arms without an adapter, so that nothing need be trained first."""
    added = [
        "compare.arms={base: null, skipped: {ablate: [transformer_blocks.1=skip]}}",
        "compare.judge={kind: nearest-colour, reach: 300}",
    ]
    assert "no judge 'nearest-colour'" in run("compare", *added, extended=False)
    assert "verdict flipped" in run("compare", *added)
    compared = tmp_path / "runs" / "tiny" / "compare"
    scores = json.loads((compared / "scores.json").read_text())
    assert scores["judge"]["kind"] == "nearest-colour"
    assert "flipped" not in {*scores["arms"]["base"], *scores["difference"]["skipped"]}
    rows = [json.loads(line) for line in (compared / "verdicts.jsonl").read_text().splitlines()]
    right = {
        arm: [row["verdict"]["spatial"] for row in rows if row["arm"] == arm and row["relation"]]
        for arm in ("base", "skipped")
    }
    flipped = sum(a != b for a, b in zip(right["base"], right["skipped"], strict=True))
    told = scores["arms"]["skipped"]["flipped"]
    assert (told["value"], told["n"]) == (flipped / 6, 6)


def test_a_probe(run, tmp_path: Path, tiny_clip_folder: Path) -> None:
    added = [
        "localize.probe=clip_one_step", "localize.clip_one_step.groups=4",
        f"localize.clip_one_step.clip={tiny_clip_folder}", "localize.mode=zero",
    ]  # fmt: skip
    assert "clip_one_step" in run("localize", *added, extended=False)
    said = " ".join(run("localize", *added).split())
    assert "CLIP similarity of one forward, lost without the component" in said
    folder = tmp_path / "runs" / "tiny" / "localize"
    ranking = json.loads((folder / "ranking.json").read_text())
    assert (ranking["probe"], ranking["figure"]) == ("clip_one_step", "target")
    blocks = [row for row in ranking["components"] if row["level"] == "block"]
    lost = [row["target"]["value"] for row in blocks]
    assert lost == sorted(lost, reverse=True) and len(set(lost)) > 1
    base = ranking["baseline"]["target"]["value"]
    for row in blocks:
        assert row["values"]["target"]["value"] == pytest.approx(base - row["target"]["value"])
    wrong = run("localize", *added, "localize.clip_one_step.group=4", code=2)
    assert "clip_one_step.group" in wrong


@pytest.mark.skipif(
    not (find_spec("bpy") or shutil.which("blender")), reason="no Blender on this machine"
)
def test_an_asset_a_world_and_a_wording(run, tmp_path: Path) -> None:
    added = [
        "scenes.world=natural", "scenes.objects=[post, ball]",
        "scenes.relations=[left of, right of]", "scenes.images=2", "scenes.test_images=0",
        "scenes.holdout=0", "scenes.workers=1",
        f"scenes.folder={tmp_path}/posts",
    ]  # fmt: skip
    place = "scenes.environments=[yard]"
    typed = "scenes.prompts=[a post to port of a ball]"
    assert "'post'" in run("render-data", *added, extended=False)
    assert "'yard'" in run("render-data", *added[:1], place, extended=False)
    run("render-data", *added, place, typed)
    rows = (tmp_path / "posts" / "metadata.jsonl").read_text().splitlines()
    for row in map(json.loads, rows):
        assert {row["subject"], row["object"]} == {"post", "ball"}
        assert row["environment"] == "yard" and row["place"] == "in a yard"
    assert json.loads(rows[0])["prompt"] == "a post to port of a ball"
    assert json.loads(rows[0])["relation"] == "left of"
