"""`ablate2tune compare` as a user types it: what is kept and what is shown anew."""

import json
from pathlib import Path

import pytest
from rendered_set import RECIPE, SMALL, write_rendered
from tiny_detectors import save_depth, save_detector, save_masks

from ablate2tune.cli import main
from ablate2tune.compare.stage import _labels, check
from ablate2tune.files import write_json
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stage import Job


@pytest.fixture
def words(tmp_path, tiny_flux_folder, adapter, judge_folder) -> list[str]:
    """The recipe and overrides: three arms, none of which needs a training."""
    arms = (
        f"{{base: null, tuned: {{adapter: {adapter}}}, "
        "skipped: {ablate: [transformer_blocks.1=skip]}}"
    )
    settings = [
        *SMALL, f"model.path={tiny_flux_folder}", f"data={tmp_path}/data", f"runs={tmp_path}/runs",
        f"compare.judge={judge_folder}", f"compare.arms={arms}",
    ]  # fmt: skip
    write_rendered(load_recipe(RECIPE, settings))
    with pytest.raises(SystemExit):
        main(["render-data", str(RECIPE), *settings])
    return [str(RECIPE), *settings]


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "runs" / "tiny" / "compare"


@pytest.fixture
def run(words, capsys):
    """Runs compare and returns what it said; a code other than 0 is expected to be an error."""

    def run(*more: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["compare", *words, *more])
        output = capsys.readouterr()
        assert (ended.value.code or 0) == code, output.err
        return output.err if code else output.out

    return run


def stamps(folder: Path, pattern: str) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.stat().st_mtime_ns for p in folder.glob(pattern)}


def test_several_arms_and_what_a_change_costs(run, folder, adapter):
    said = run()
    assert {p.name for p in (folder / "images").iterdir()} == {"base", "tuned", "skipped"}
    for heading in ("base", "tuned", "skipped", "direction, given kind", "asked for"):
        assert heading in said
    scores = json.loads((folder / "scores.json").read_text())
    assert scores["reference"] == "base" and list(scores["difference"]) == ["tuned", "skipped"]
    made = stamps(folder, "images/**/*.png"), stamps(folder, "*.jsonl")
    assert len(made[0]) == 3 * (6 + 2)

    assert "measured on scenes of" not in said

    # What presents: the verdicts stand, figures and grid follow.
    grid = (folder / "grid.png").read_bytes()
    said = run("compare.grid_rows=1", "compare.confidence=0.8", "compare.reference=tuned")
    assert "shown anew" in said and "80% intervals" in said
    again = json.loads((folder / "scores.json").read_text())
    assert again["reference"] == "tuned" and list(again["difference"]) == ["base", "skipped"]
    assert again["arms"]["base"]["spatial"]["value"] == scores["arms"]["base"]["spatial"]["value"]
    assert (folder / "grid.png").read_bytes() != grid
    assert (stamps(folder, "images/**/*.png"), stamps(folder, "*.jsonl")) == made
    assert "inputs unchanged" in run(
        "compare.grid_rows=1", "compare.confidence=0.8", "compare.reference=tuned"
    )

    # Another set of arms: those that are the same keep their pictures.
    said = run(f"compare.arms={{base: null, other: {{adapter: {adapter}}}}}")
    assert "what does not depend on it is kept" in said
    kept = stamps(folder, "images/base/*.png")
    assert kept.items() <= made[0].items()
    assert list(json.loads((folder / "scores.json").read_text())["arms"]) == ["base", "other"]

    # What the prompts are drawn from decides everything.
    said = run("scenes.relations=[left of, right of]", code=2)
    assert "belongs to another recipe: scenes.relations" in said and "rm -r" in said
    said = run("compare.arms={a: {adapter: nowhere}}", code=2)
    assert "no adapter to compare in the arm 'a'" in said
    said = run("compare.arms={a: {ablate: [transformer_blocks.1]}}", code=2)
    assert "ADDRESS=MODE" in said
    assert "no arm" in run("compare.reference=after", code=2)


def test_tracking_is_made_good_for(run, folder, monkeypatch):
    monkeypatch.delenv("WANDB_MODE", raising=False)
    few = ("compare.arms={base: null}", "compare.judge=null")
    run(*few)
    assert not (folder / "wandb").exists()
    said = run(*few, "compare.wandb=offline", "compare.wandb_project=a/b")
    assert "tracking failed" in said
    made = stamps(folder, "images/**/*.png")
    said = run(*few, "compare.wandb=offline", "compare.wandb_project=ab")
    (line,) = [line for line in said.splitlines() if "wandb sync" in line]
    assert line.startswith("W&B, offline: wandb sync ")
    assert Path(line.split("wandb sync ")[1]).is_dir(), "on one line, whole"
    assert "inputs unchanged\n" in run(*few, "compare.wandb=offline", "compare.wandb_project=ab")
    assert len(list((folder / "wandb").glob("offline-run-*/*.wandb"))) == 1
    assert stamps(folder, "images/**/*.png") == made


def test_a_judge_is_never_measured_at_another_size(run):
    said = run("model.height=64", "compare.arms={base: null}", code=2)
    assert "32 x 32 pixels, but the model runs at 32 x 64" in said


@pytest.mark.parametrize("name", ["flux1-dev", "flux2-klein", "sdxl"])
def test_the_recipes_of_real_models_are_refused_nothing_before_they_begin(
    name, tmp_path, tiny_flux_folder
):
    """Prompts of their natural worlds, and their judge; a tiny model stands in for theirs."""
    recipe = load_recipe(
        RECIPE.with_name(f"{name}.yaml"),
        [
            f"model.path={tiny_flux_folder}", "model.max_sequence_length=512",
            f"compare.judge.detector={save_detector(tmp_path / 'detector', ['red ball'])}",
            f"compare.judge.depth={save_depth(tmp_path / 'depth')}",
            f"compare.judge.masks={save_masks(tmp_path / 'masks')}",
        ],
    )  # fmt: skip
    assert recipe.scenes.world == "natural"
    check(recipe)


def test_wandb_is_told_what_the_adapter_was_trained_on(tmp_path):
    """The rank in the run's configuration was the recipe's, whatever the adapter's was."""
    write_json(tmp_path / "compared.json", {"arms": {"after": {"trained_on": {"rank": 8}}}})
    job = Job(load_recipe(RECIPE, [*SMALL, "compare.judge=null"]), tmp_path, Terminal(quiet=True))
    labels = _labels(job)
    assert labels.config["compared"]["after"]["trained_on"]["rank"] == 8
    assert labels.config["train"]["rank"] == 2
    assert (labels.name, labels.group) == ("tiny-seed1", "tiny")
    assert labels.tags == ["FLUX.1-dev", "targets top", "judge none"]
