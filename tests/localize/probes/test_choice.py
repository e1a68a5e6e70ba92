"""The probe choice: margins as computed by hand, and a planted induction head found by it."""

import json
from pathlib import Path

import pytest
import torch
from planted_language import INDUCTION, write_planted, write_repeats

from ablate2tune.contrasts.makers.choices import read_choices
from ablate2tune.errors import UserError
from ablate2tune.files import read_json, read_jsonl
from ablate2tune.localize.probes.choice import question
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stages import STAGES, run_stage

HEAD = f"transformer.h.1.attn[heads={INDUCTION}]"


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_planted(folder / "model")
    write_repeats(folder / "choices.jsonl", 48)
    return folder


def ranked(planted: Path, folder: Path, *more: str) -> dict:
    recipe = folder / "recipe.yaml"
    recipe.write_text(
        f"name: planted\nseed: 1\nmodel: {{path: {planted}/model, device: cpu}}\n"
        f"runs: {folder}/runs\nlocalize:\n  probe: choice\n  heads: true\n  top_blocks: 2\n"
        f"  calibration_groups: 16\n  contrasts: {planted}/choices.jsonl\n"
        "  choice: {groups: 32}\n"
    )
    run_stage(STAGES["localize"], load_recipe(recipe, list(more)), Terminal(quiet=True))
    return read_json(folder / "runs" / "planted" / "localize" / "ranking.json")


@pytest.mark.parametrize("mode", ["zero", "mean", "resample"])
def test_the_planted_head_is_ranked_first(planted: Path, tmp_path: Path, mode: str):
    found = ranked(planted, tmp_path, f"localize.mode={mode}")
    heads = [row for row in found["components"] if row["level"] == "head"]
    first, second = sorted(heads, key=lambda row: row["rank_in_level"])[:2]
    assert len(heads) == 8
    assert first["address"] == HEAD
    assert first["label"] == "helps"
    assert first["target"]["low"] > 2 * second["target"]["high"]
    assert found["baseline"]["right"]["value"] == 1


def test_margins_are_log_probabilities_of_answers(planted: Path, tmp_path: Path):
    ranked(planted, tmp_path, "localize.mode=zero")
    rows = read_jsonl(tmp_path / "runs" / "planted" / "localize" / "results.jsonl")
    model = load_language_model(ModelConfig(path=str(planted / "model"), device="cpu"))
    for row in [row for row in rows if not row["condition"]][:4]:
        choice = next(e for e in read_choices(planted / "choices.jsonl").examples
                      if e.id == row["example"]).payload  # fmt: skip
        ids = model.tokenizer(choice.prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logs = model.model(ids).logits[0, -1].log_softmax(-1)
        numbers = model.tokenizer.convert_tokens_to_ids(
            [choice.answer.strip(), choice.foils[0].strip()]
        )
        margin = float(logs[numbers[0]] - logs[numbers[1]])
        assert row["target"] == pytest.approx(margin, abs=1e-4)
        assert row["quality"] == pytest.approx(float(logs[numbers[0]]), abs=1e-4)


LINE = '{"prompt": "w1 w2", "answer": " w3", "foils": [" w4"]'


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("", "is empty"),
        ('{"prompt": "w1", "answer": " w3"}', "'foils' is missing"),
        ('{"prompt": "w1", "answer": " w3", "foils": [" w3"]}', "the answer is among its foils"),
        ('{"prompt": "w1", "answer": " w3", "foil": [" w3"]}', "no key 'foil'"),
        (f'{LINE}, "split": "dev"}}', "split is 'dev'"),
        (f'{LINE}, "id": 1}}\n{LINE}, "group": 2, "id": 1}}', "has the id '1'"),
        (f'{LINE}}}\n{LINE}, "controls": [" w5"]}}', "has controls"),
    ],
)
def test_lines_that_are_refused(tmp_path: Path, line: str, says: str):
    file = tmp_path / "choices.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UserError, match=says):
        read_choices(file)


def test_answers_are_scored_from_where_they_differ(planted: Path, tmp_path: Path):
    model: LanguageModel = load_language_model(
        ModelConfig(path=str(planted / "model"), device="cpu")
    )
    file = tmp_path / "choices.jsonl"
    file.write_text('{"prompt": "w1 w2", "answer": " w3 w4", "foils": [" w5", " w3 w6 w7"]}\n')
    found = question(model, read_choices(file).examples[0])
    assert found.rows == [[1, 5, 6, 7, 8], [1, 5, 6, 9], [1, 5, 6, 7, 10, 11]]
    assert (found.start, found.foils) == (3, 2)
    assert found.phrases == {}
    file.write_text('{"prompt": "w1 w2", "answer": " ww", "foils": [" www"]}\n')
    with pytest.raises(UserError, match="the same to the tokenizer"):
        question(model, read_choices(file).examples[0])


def test_phrases_are_ablated_where_they_stand(planted: Path, tmp_path: Path):
    """Induction reads the word behind the first copy: there the second layer's input matters."""
    rows = [json.loads(line) for line in (planted / "choices.jsonl").read_text().splitlines()]
    for row in rows:
        words = row["prompt"].split()
        at = row["prompt"].index(f" {row['answer'].strip()}") + 1
        row["spans"] = {"copied": [at, at + len(row["answer"]) - 1], "first": words[0]}
    file = tmp_path / "spans.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    ranked(
        planted, tmp_path, "localize.mode=zero", f"localize.contrasts={file}",
        "localize.tokens=[copied, first]",
    )  # fmt: skip
    found = read_json(tmp_path / "runs" / "planted" / "localize" / "tokens.json")
    lost = {row["address"]: row["target"]["value"] for row in found["positions"]}
    assert set(found["left_out"]) == set()
    # Layer 0 writes at the copied word which word came before it; nothing rests on the first word.
    assert lost["transformer.h.0@tokens=copied"] > 1
    assert abs(lost["transformer.h.0@tokens=first"]) < 0.5
