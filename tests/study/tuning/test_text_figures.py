"""A study of a language model's arms: the figures are those of transformers and PEFT."""

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny_language import write_language_model, write_text
from transformers import AutoModelForCausalLM

from ablate2tune.cli import main
from ablate2tune.files import read_json

RECIPE = """
name: job
model: {{path: {0}/model, device: cpu}}
runs: {0}/runs
train: {{text: {0}/answers.jsonl, length: 8, rank: 2, steps: 2, batch_size: 2, count: 2,
         learning_rate: 0.01, validation_images: 2}}
study: {{experiment: text-tuning, measured: {0}/answers.jsonl, beside: {0}/text.txt, seeds: [1],
         arms: {{own: {{targets: list, modules: ["model.layers.1.mlp.{{up,down}}_proj"]}},
                random: {{targets: random}}}}}}
"""


def run(recipe: Path, *overrides: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["study", str(recipe), *overrides])
    return int(ended.value.code or 0)


def test_arms_are_compared_on_the_test_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_language_model(tmp_path / "model")
    write_text(tmp_path / "text.txt", length=100)
    rows = [{"prompt": f"w{n} w2", "answer": f" w{n}", "foils": [" w50"]} for n in range(12)]
    tests = [{**row, "split": "test"} for row in rows[:4]]
    lines = "".join(json.dumps(row) + "\n" for row in [*tests, *rows[4:]])
    (tmp_path / "answers.jsonl").write_text(lines)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(tmp_path))
    assert run(recipe, "study.measured=null") == 2
    assert "there is no text to measure on" in capsys.readouterr().err
    assert run(recipe) == 0
    assert "held-out loss, nats per token" in capsys.readouterr().out

    folder = tmp_path / "runs" / "job" / "study"
    study = read_json(folder / "study.json")
    # Prompts of two words behind <s>, w0 being token 4; the answer and </s> count.
    ids = torch.tensor([[1, 4 + n, 6, 4 + n, 2] for n in range(4)])
    labels = ids.clone()
    labels[:, :3] = -100
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert study["untouched"]["loss"] == pytest.approx(model(ids, labels=labels).loss.item(), 1e-5)
    for row in study["cells"]:
        fresh = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
        adapter = folder / "cells" / row["key"] / "train" / "adapter"
        tuned = PeftModel.from_pretrained(fresh, str(adapter))
        assert row["loss"] == pytest.approx(tuned(ids, labels=labels).loss.item(), rel=1e-5)
        assert row["loss"] != study["untouched"]["loss"]
        assert row["spoiled"] == pytest.approx(
            row["beside_loss"] - study["untouched"]["beside_loss"]
        )
        assert len(row["modules"]) == 2
