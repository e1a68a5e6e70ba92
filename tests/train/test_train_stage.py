"""The stage train through the command line: what may change, what must start anew, what is said."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from ablate2tune import files
from ablate2tune.cli import main
from ablate2tune.scenes.dataset.records import COLUMNS
from ablate2tune.train import training_loop


@pytest.fixture
def recipe(tiny_flux_folder: Path, make_records, tmp_path: Path) -> Path:
    """Four steps on a tiny FLUX and a data set of the test's own."""
    scenes = tmp_path / "scenes"
    records = make_records(scenes, 3)
    rows = [{column: getattr(record, column) for column in COLUMNS} for record in records]
    files.write_jsonl(scenes / "metadata.jsonl", rows)
    values = {
        "name": "job",
        "runs": str(tmp_path / "runs"),
        "model": {"path": str(tiny_flux_folder), "device": "cpu", "height": 32, "width": 32,
                  "max_sequence_length": 16},
        "scenes": {"folder": str(scenes)},
        "compare": {"steps": 1},
        "train": {"targets": "list", "modules": ["transformer_blocks.1.attn.to_q",
                  "single_transformer_blocks.1.proj_out"], "rank": 2,
                  "steps": 4, "batch_size": 2, "warmup": 0, "learning_rate": 0.01,
                  "validation_images": 2, "validate_every": 2, "sample_every": 9,
                  "sample_prompts": 1, "checkpoint_every": 1},
    }  # fmt: skip
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def run(recipe: Path, *overrides: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", str(recipe), *overrides])
    return int(ended.value.code or 0)


def test_losses_are_told(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    seen = []
    monkeypatch.setattr(training_loop, "map_large_tensors", seen.append)
    assert run(recipe) == 0
    assert len(seen) == 1  # it looks at the model's size itself
    said = capsys.readouterr().out
    assert re.search(r"^memory: about .* GB \(weights .*, activations 2 x .*\)$", said, re.M)
    # Three validations of 2 x 8 rows beside 4 x 2 pictures of two passes each.
    assert "validation 300 % (48 forward passes), samples 12 % (2)" in said
    last = r"^loss [\d.]+ -> [\d.]+, validation [\d.]+ -> [\d.]+ \(best [\d.]+ at step \d\)$"
    assert re.search(last, said, re.M)
    assert "warning" not in said


def test_a_rate_that_does_harm_is_told(recipe: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recipe, "train.learning_rate=100") == 0
    said = capsys.readouterr().out
    assert "warning: validation has risen" in said
    assert re.search(r"warning: validation ended (above its start|at .*adapter-last)", said)
    assert "lower train.learning_rate (now 100)" in said


def test_the_way_out_of_a_loss_that_is_not_finite_works_as_it_is_told(
    recipe: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(recipe, "train.learning_rate=1e30") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    told = re.search(
        r"`rm -r (\S+)`, then the same command with (train\.learning_rate=\S+);", error
    )
    assert told is not None
    # Without it the folder would belong to the other rate.
    assert run(recipe, "train.learning_rate=0.01") == 2
    assert "train.learning_rate was 1e+30, is 0.01" in capsys.readouterr().err
    shutil.rmtree(told[1])
    assert told[2] == "train.learning_rate=1e+29"
    assert run(recipe, "train.learning_rate=0.01") == 0


def test_what_only_steers_may_change_in_a_run_that_was_killed(
    recipe: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert run(recipe, "name=whole") == 0
    real = files.append_jsonl

    def killed(path: Path, rows: list[dict]) -> None:
        if rows[0].get("step") == 3:
            raise KeyboardInterrupt
        real(path, rows)

    with monkeypatch.context() as patch:
        patch.setattr(files, "append_jsonl", killed)
        assert run(recipe) == 130
    changed = ["checkpoint_every=3", "validate_every=4", "sample_every=3", "sample_prompts=2"]
    assert run(recipe, *(f"train.{key}" for key in changed)) == 0
    folder = recipe.parent / "runs"
    name = "train/adapter/pytorch_lora_weights.safetensors"
    assert (folder / "job" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    capsys.readouterr()
    assert run(recipe, "train.steps=5") == 2
    error = capsys.readouterr().err
    assert "train.steps was 4, is 5" in error and "rm -r" in error and "name=OTHER" in error


def test_encodings_that_runs_share(recipe: Path, tmp_path: Path):
    shared = tmp_path / "encoded"
    assert run(recipe, "name=own") == 0
    for name in ("one", "two"):
        assert run(recipe, f"name={name}", f"train.cache={shared}") == 0
    assert len(list(shared.iterdir())) == 1
    folder = tmp_path / "runs"
    weights = "train/adapter/pytorch_lora_weights.safetensors"
    files = [(folder / name / weights).read_bytes() for name in ("own", "one", "two")]
    assert files[0] == files[1] == files[2]
    assert not (folder / "two" / "train" / "cache").exists()


def test_a_replaced_picture_is_seen(recipe: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recipe) == 0
    pictures = sorted((recipe.parent / "scenes" / "images").iterdir())
    pictures[0].write_bytes(pictures[1].read_bytes())
    assert run(recipe) == 2
    assert "data has other content than before" in capsys.readouterr().err


def test_a_rank_that_layers_have_no_room_for(recipe: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recipe, "train.rank=33") == 2
    error = capsys.readouterr().err
    assert "rank 33 is more than transformer_blocks.1.attn.to_q can use" in error
    assert "set it to 32 or less" in error
    assert not (recipe.parent / "runs" / "job" / "train" / "cache").exists()


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.max_sequence_length=4", "has 9 tokens, and the model is given 4: it would be cut"),
        ("model.height=64", "32 x 32 pixels, but the model runs at 32 x 64"),
    ],
)
def test_what_does_not_fit_the_model_is_refused_before_any_work(
    recipe: Path, capsys: pytest.CaptureFixture[str], override: str, words: str
):
    assert run(recipe, override) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error
    assert not (recipe.parent / "runs" / "job" / "train" / "cache").exists()


def test_a_base_of_few_bits_is_another_run(recipe: Path, capsys: pytest.CaptureFixture[str]):
    assert run(recipe, "model.quantize=int8", "train.method=dora") == 2
    assert "model.quantize = int8: dora computes with the base's" in capsys.readouterr().err
    assert run(recipe, "model.quantize=int8") == 0
    assert run(recipe) == 2
    assert "model.quantize was 'int8', is None" in capsys.readouterr().err


@pytest.mark.parametrize(
    "override, words",
    [
        ("model.quantize=int8", "model.quantize = int8: weights of few bits are not divided"),
        ("train.compile=true", "train.compile = true: compiled blocks are not divided"),
        ("train.method=dora", "train.method = dora: it computes with weights"),
        ("train.method=eva", "train.method = eva: it runs the model before"),
        ("train.batch_size=1", "train.batch_size = 1: 2 processes that divide a model need"),
    ],
)
def test_what_a_model_in_pieces_cannot_do_is_refused(
    recipe: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    override: str,
    words: str,
):
    for name, value in (
        ("ACCELERATE_USE_FSDP", "true"),
        ("FSDP_VERSION", "2"),
        ("WORLD_SIZE", "2"),
    ):
        monkeypatch.setenv(name, value)
    assert run(recipe, override) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (recipe.parent / "runs").exists()


def test_an_optimizer_that_cannot_be_had_is_told_before_any_work(
    recipe: Path, capsys: pytest.CaptureFixture[str]
):
    assert run(recipe, "train.optimizer=adamw8bit") == 2
    error = capsys.readouterr().err
    assert "adamw8bit works on cuda alone" in error and error.count("\n") == 1
    assert not (recipe.parent / "runs").exists()
