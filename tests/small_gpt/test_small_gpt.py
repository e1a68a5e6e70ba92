"""A small GPT: counts by hand, the same weights after a kill, and a study of it."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from ablate2tune.errors import DivergedError, UserError
from ablate2tune.files import read_json
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.small_gpt import gpt_training
from ablate2tune.small_gpt.byte_text import ByteText, read_text
from ablate2tune.small_gpt.gpt_config import GptConfig
from ablate2tune.small_gpt.gpt_model import SmallGpt, flops_per_byte, parameter_counts
from ablate2tune.small_gpt.gpt_training import STATE, batch, learning_rate, train_gpt
from ablate2tune.small_gpt.matching import matched
from ablate2tune.stage_running import run_stage
from ablate2tune.study.stage import STAGE as STUDY

TINY = {
    "layers": 2, "heads": 2, "width": 8, "context": 8, "steps": 60, "batch_size": 8,
    "learning_rate": 0.01, "warmup": 2, "validate_every": 10, "validation_windows": 8,
    "checkpoint_every": 10,
}  # fmt: skip


def text() -> ByteText:
    line = np.frombuffer(b"abcd efgh ijkl\n" * 200, np.uint8)
    return ByteText(line[:2700], line[2700:])


@pytest.mark.parametrize(
    ("changes", "mlp"),
    [
        ({}, 2 * 8 * 32),
        ({"activation": "relu"}, 2 * 8 * 32),
        ({"activation": "swiglu"}, 3 * 8 * 24),
    ],
)
def test_parameters_are_those_counted_by_hand(changes: dict, mlp: int):
    config = GptConfig(**TINY | changes)
    total, inner = parameter_counts(SmallGpt(config, 0))
    assert inner == 2 * (3 * 8 * 8 + 8 * 8 + mlp + 2 * 8) + 8
    assert total == inner + 256 * 8 + 8 * 8
    assert flops_per_byte(SmallGpt(config, 0), config) == 6 * (inner + 256 * 8) + 12 * 2 * 8 * 8


def test_swiglu_has_as_many_parameters_at_the_recipes_width():
    gelu, swiglu = (
        parameter_counts(SmallGpt(GptConfig(width=96, activation=kind), 0))[0]  # type: ignore
        for kind in ("gelu", "swiglu")
    )
    assert gelu == swiglu


@pytest.mark.parametrize("position", ["pre", "post"])
@pytest.mark.parametrize("norm", ["layernorm", "rmsnorm"])
def test_no_byte_looks_ahead(position: str, norm: str):
    model = SmallGpt(GptConfig(**TINY | {"position": position, "norm": norm}), 0)
    rows = torch.randint(256, (2, 8), generator=torch.Generator().manual_seed(0))
    other = rows.clone()
    other[:, 5] += 1
    with torch.no_grad():
        one, two = model(rows), model(other % 256)
    assert torch.allclose(one[:, :5], two[:, :5], atol=1e-6)
    assert not torch.allclose(one[:, 5:], two[:, 5:], atol=1e-6)


def test_widths_are_matched_by_hand_counted_parameters():
    base = GptConfig(layers=2, heads=4, width=64)
    # 12 w^2 + 2 w a layer and w behind: 98,624 at 2 x 64; at 4 layers 93,324 at 44, 111,024 at 48.
    deep = base.model_copy(update={"layers": 4, "match": "parameters"})
    assert matched(deep, base).width == 44
    assert matched(deep, base).match == "none"
    assert matched(deep.model_copy(update={"layers": 2}), base).width == 64
    wide = deep.model_copy(update={"width": 128})
    assert matched(wide, base).width == 128
    # FLOPs: 6 (12 w^2 + 2 w) + 12 x 64 w a layer, and 6 (w + 256 w): 788,352 at 2 x 64;
    # at 4 layers 762,696 at 44 and 887,328 at 48.
    by_flops = deep.model_copy(update={"match": "flops"})
    assert matched(by_flops, base).width == 44


def test_models_of_one_seed_begin_alike_where_shapes_agree():
    one, two = SmallGpt(GptConfig(**TINY), 3), SmallGpt(GptConfig(**TINY | {"norm": "rmsnorm"}), 3)
    assert torch.equal(one.blocks[0].attention.qkv.weight, two.blocks[0].attention.qkv.weight)
    assert torch.equal(batch(text().training, GptConfig(**TINY), 3, 5),
                       batch(text().training, GptConfig(**TINY | {"layers": 1}), 3, 5))  # fmt: skip


def test_the_rate_rises_and_falls():
    config = GptConfig(**TINY | {"steps": 12})
    rates = [learning_rate(step, config) for step in range(12)]
    assert rates[:3] == [0.005, 0.01, 0.01]
    assert rates == sorted(rates[:2]) + sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.01 * (0.1 + 0.45 * (1 + math.cos(math.pi * 0.9))))


def test_it_learns_and_resumes_to_the_same(tmp_path: Path):
    config = GptConfig(**TINY | {"steps": 60})
    whole = train_gpt(config, text(), 1, tmp_path / "whole")
    assert whole["validation_loss"] < 0.95 * whole["unigram_loss"]
    assert whole["curve"][0][1] == pytest.approx(math.log(256), abs=0.1)

    class Killed(Exception):  # noqa: N818
        pass

    def kill(done: int, _total: int) -> None:
        if done == 37:
            raise Killed

    with pytest.raises(Killed):
        train_gpt(config, text(), 1, tmp_path / "killed", kill)
    assert train_gpt(config, text(), 1, tmp_path / "killed") == whole
    assert (tmp_path / "killed" / STATE).read_bytes() == (tmp_path / "whole" / STATE).read_bytes()


def test_divergence_is_told(tmp_path: Path):
    config = GptConfig(**TINY | {"learning_rate": 1e4, "warmup": 0, "position": "post"})
    with pytest.raises(DivergedError, match="loss"):
        train_gpt(config, text(), 1, tmp_path)


@pytest.mark.parametrize(
    ("content", "says"), [(b"a\0b" * 99, "is no text file"), (b"abc", "3 bytes are too few")]
)
def test_texts_that_are_refused(tmp_path: Path, content: bytes, says: str):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_text(tmp_path / "t.txt", 1.0, 8)


def test_the_default_text_is_there():
    found = read_text(None, 0.2, 64)
    assert len(found.training) == 180_000
    assert b"import" in found.training.tobytes()


def test_widths_that_heads_do_not_divide():
    with pytest.raises(ValueError, match="width = 8 is not a multiple of heads = 3"):
        GptConfig(**TINY | {"heads": 3})


def study(folder: Path, *more: str) -> dict:
    folder.mkdir(exist_ok=True)
    (folder / "t.txt").write_bytes(b"abcd efgh ijkl\n" * 200)
    (folder / "recipe.yaml").write_text(
        f"name: axes\nmodel: {{path: none}}\nruns: {folder}/runs\n"
        f"gpt: {json.dumps(TINY | {'text': f'{folder}/t.txt'})}\n"
        "study:\n  experiment: small-gpt\n  arms: {}\n  seeds: [1, 2]\n"
        "  axes: {gpt.layers: [1], gpt.learning_rate: [1.0e+4]}\n"
    )
    run_stage(STUDY, load_recipe(folder / "recipe.yaml", list(more)), Terminal(quiet=True))
    return read_json(folder / "runs" / "axes" / "study" / "study.json")


def test_a_study_of_its_axes(tmp_path: Path):
    found = study(tmp_path)
    settings = {entry["setting"]: entry for entry in found["settings"]}
    assert list(settings) == ["baseline", "gpt.layers=1", "gpt.learning_rate=10000.0"]
    base, shallow = settings["baseline"], settings["gpt.layers=1"]
    assert base["seeds"] == 2
    assert shallow["against"] == "baseline"
    assert shallow["difference"]["value"] == pytest.approx(
        shallow["validation_loss"]["value"] - base["validation_loss"]["value"]
    )
    assert settings["gpt.learning_rate=10000.0"]["statuses"] == {"diverged": 2}
    assert (tmp_path / "runs" / "axes" / "study" / "curves.png").exists()
    assert study(tmp_path) == found


def test_killed_within_a_cell_it_gives_the_same_table(tmp_path: Path, monkeypatch):
    class KilledError(Exception):
        pass

    steps, step = 0, gpt_training._step

    def dying(*given):
        nonlocal steps
        steps += 1
        if steps == 100:  # the second cell's, behind those that the price is told by
            raise KilledError
        return step(*given)

    whole = study(tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(gpt_training, "_step", dying)
        with pytest.raises(KilledError):
            study(tmp_path / "killed")
    assert study(tmp_path / "killed") == whole


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("study.arms={guided: {}}", "nothing is tuned here"),
        ("study.axes={train.rank: [4]}", "says nothing of a small GPT"),
        ("study.axes={gpt.heads: [3]}", "not a multiple"),
    ],
)
def test_studies_that_are_refused(tmp_path: Path, change: str, says: str):
    with pytest.raises(UserError, match=says):
        study(tmp_path, change)
