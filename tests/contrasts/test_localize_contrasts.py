"""Contrasts of the user's own through the command line, without any scene of the recipe's."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import yaml

from ablate2tune import cli
from ablate2tune.recipe import load_recipe
from ablate2tune.scenes.dataset.records import SceneRecord, read_dataset
from ablate2tune.scenes.rendering.render import render_dataset

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "tests" / "scenes" / "shipped"


def write_colours(folder: Path, records: list[SceneRecord], control: bool) -> Path:
    """The pictures with captions of which the foils are wrong in a colour."""
    folder.mkdir()
    lines = []
    for record in records:
        name = f"{record.scene_id}.png"
        shutil.copy(record.image_path, folder / name)
        line = {
            "file_name": name,
            "text": record.text,
            "foil": record.foil_colour,
            "group": record.group_id,
            "spans": {
                "text": {"colour": record.subject_colour, "relation": record.relation},
                "foil": {"colour": record.foil_colour.split()[1], "relation": record.relation},
            },
        }
        if control:
            line["control"] = record.foil
            line["spans"]["control"] = {"colour": record.subject_colour}
        lines.append(json.dumps(line))
    (folder / "contrasts.jsonl").write_text("\n".join(lines))
    return folder


def code_of(recipe: Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(["localize", str(recipe)])
    return int(str(ended.value.code))


def localized(tmp_path: Path, model: dict, settings: dict) -> Path:
    recipe = tmp_path / "recipe.yaml"
    values = {"name": "colours", "model": model, "localize": settings, "runs": str(tmp_path)}
    recipe.write_text(yaml.safe_dump({**values, "data": str(tmp_path / "no-data")}))
    assert code_of(recipe) == 0
    return tmp_path / "colours" / "localize"


def test_without_a_control_it_is_absent(tiny_flux_folder, make_records, tmp_path, capsys):
    folder = write_colours(tmp_path / "own", make_records(9), control=False)
    model = {"path": str(tiny_flux_folder), "device": "cpu", "height": 32, "width": 32,
             "max_sequence_length": 16}  # fmt: skip
    settings = {
        "contrasts": str(folder), "groups": 6, "calibration_groups": 3, "sigmas": [0.9, 0.6],
        "top_blocks": 1, "rank_by": "gradient", "bootstrap": 50, "screening": "on",
        "tokens": ["colour"], "information": "depth",
    }  # fmt: skip
    place = localized(tmp_path, model, settings)
    rows = [json.loads(line) for line in (place / "results.jsonl").read_text().splitlines()]
    assert all({"target", "quality"} <= row.keys() and "control" not in row for row in rows)
    assert "control" not in rows[0]["by_sigma"]
    ranking = json.loads((place / "ranking.json").read_text())
    assert "control" not in ranking["baseline"]
    assert ranking["foils"] == {"target": folder.name}
    assert ranking["components"]
    for row in ranking["components"]:
        assert "control" not in row and row["specificity"] is None and row["target"]["n"] == 12
    with open(place / "ranking.csv") as file:
        header = next(csv.reader(file))
    assert "target" in header and not [name for name in header if name.startswith("control")]
    said = " ".join(capsys.readouterr().out.split())
    assert "specificity is unmeasured" in said and f"target ({folder.name})" in said
    # Done with this folder; another text in it is another input.
    assert code_of(tmp_path / "recipe.yaml") == 0
    assert "done before" in capsys.readouterr().out
    lines = (folder / "contrasts.jsonl").read_text().replace(" cube", " cone")
    (folder / "contrasts.jsonl").write_text(lines)
    assert code_of(tmp_path / "recipe.yaml") == 2
    assert "localize.contrasts" in capsys.readouterr().err


@pytest.mark.slow
def test_colours_on_the_testbed_with_relations_as_the_control(tmp_path):
    recipe = load_recipe(
        ROOT / "recipes" / "testbed.yaml", ["scenes.images=40", "scenes.test_images=0"]
    )
    render_dataset(recipe.scenes, recipe.seed, tmp_path / "scenes")
    records = read_dataset(tmp_path / "scenes")
    folder = write_colours(tmp_path / "colours-of-objects", records, control=True)
    model = recipe.model.model_dump(mode="json")
    model |= {"path": str(ROOT / "checkpoints" / "testbed"), "device": "cpu"}
    settings = {
        "contrasts": str(folder), "groups": 16, "calibration_groups": 4, "sigmas": [0.9, 0.7],
        "top_blocks": 1, "bootstrap": 200, "racing": False,
    }  # fmt: skip
    place = localized(tmp_path, model, settings)
    ranking = json.loads((place / "ranking.json").read_text())
    # The testbed paints the right colours and places them poorly: docs and README say so.
    base = ranking["baseline"]
    assert ranking["verdict"] == "ranked"
    assert base["target"]["low"] > 0 and base["target"]["value"] > 2 * base["control"]["value"]
    assert {"target", "control", "quality"} <= ranking["components"][0].keys()
