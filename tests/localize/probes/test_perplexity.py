"""The probe perplexity: losses by an independent route, means over tokens, refusals."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from planted_language import HEADS, INDUCTION, LAYERS, WORDS, write_planted
from tiny_language import tokens, write_language_model, write_text

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.errors import UserError
from ablate2tune.files import read_json, read_jsonl
from ablate2tune.localize.findings.head_table import head_cells
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.text.sequences import sequences, token_rows
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.localize.text.token_means import TokenMeans
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stages import STAGES, run_stage


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    write_language_model(folder / "model", num_hidden_layers=3)
    write_text(folder / "text.txt", length=600)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return load_language_model(ModelConfig(path=str(folder / "model"), device="cpu"))


def recipe(folder: Path, tmp_path: Path, *more: str):
    file = tmp_path / "recipe.yaml"
    file.write_text(
        f"name: lm\nseed: 1\nmodel: {{path: {folder}/model, device: cpu}}\nruns: {tmp_path}/runs\n"
        "localize:\n  probe: perplexity\n  mode: mean\n  calibration_groups: 12\n"
        f"  perplexity: {{text: {folder}/text.txt, length: 13, sequences: 24, batch_size: 4}}\n"
    )
    return load_recipe(file, list(more))


@pytest.mark.parametrize("rows", [2, 16])
def test_losses_are_those_of_a_plain_loop_of_hooks(model: LanguageModel, rows: int):
    ids = tokens(rows=4, length=9)
    batch = TokenBatch.of(ids.tolist(), [1] * 4)
    layers = ["model.layers.0", "model.layers.1", "model.layers.2"]
    conditions = [BASELINE, *(Condition((layer,), "skip") for layer in layers)]
    conditions += [Condition((f"{layer}.mlp",), "zero") for layer in layers]
    found = Engine(model, rows, means=TokenMeans()).losses(batch, conditions)

    def plain() -> torch.Tensor:
        return torch.stack([model.model(row[None], labels=row[None]).loss for row in ids])

    with torch.no_grad():
        assert torch.allclose(torch.tensor(found[BASELINE]).float(), plain(), atol=1e-5)
        for condition in conditions[1:]:
            (address,) = condition.addresses
            handle = model.model.get_submodule(address).register_forward_hook(
                (lambda _m, args, _out: args[0])
                if condition.mode == "skip"
                else (lambda _m, _args, out: torch.zeros_like(out))
            )
            expected = plain()
            handle.remove()
            ablated = torch.tensor(found[condition]).float()
            assert torch.allclose(ablated, expected, atol=1e-5), condition


def test_padding_changes_nothing(model: LanguageModel):
    long, short = tokens(rows=2, length=11, seed=3).tolist()
    both = TokenBatch.of([long, short[:6]], [1, 4], summed=True)
    alone = TokenBatch.of([short[:6]], [4], summed=True)
    assert both.scored.sum(1).tolist() == [10, 2]
    assert both.losses(model)[1] == pytest.approx(float(alone.losses(model)[0]), abs=1e-5)


def test_means_are_of_the_first_token_and_of_the_others():
    x = torch.arange(24.0).reshape(2, 3, 4)
    means = TokenMeans()
    means.add("site", [x])
    first, rest = x[:, 0].mean(0), x[:, 1:].mean((0, 1))
    found = means.mean("site", 0, torch.zeros(5, 4, 4))
    assert torch.equal(found[2, 0], first)
    assert torch.allclose(found[:, 1:], rest.expand(5, 3, 4))
    assert torch.allclose(means.mean("site", 0, torch.zeros(5, 1, 4)), rest.expand(5, 1, 4))
    padded = TokenMeans()
    padded.real = torch.tensor([[True, True, False], [True, True, True]])
    padded.add("site", [x])
    assert torch.allclose(
        padded.mean("site", 0, torch.zeros(1, 2, 4))[0, 1], (x[0, 1] + x[1, 1:].mean(0)) / 2
    )


def test_a_text_is_cut_into_sequences_of_its_tokens(model: LanguageModel, tmp_path: Path):
    (tmp_path / "a.txt").write_text("w0 w1 w2 w3 w4 w5 w6")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfw0 w1 w2 w7")  # a byte order mark is no text
    found = sequences(model, tmp_path, 4)
    # Three words behind <s>; "w6" fills no sequence, and b's only one is a's first again.
    assert [(e.id, e.cluster) for e in found] == [("a.txt@0", "a.txt@0"), ("a.txt@3", "a.txt@3")]
    assert token_rows(found) == [[1, 4, 5, 6], [1, 7, 8, 9]]


def test_many_documents_are_clusters(model: LanguageModel, tmp_path: Path):
    found: list[Contrast] = sequences(model, write_text(tmp_path / "t.jsonl", 20, 30), 10)
    assert len({example.cluster for example in found}) == 20
    assert len(found) == 60


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that repeats, and texts of nine words that come twice."""
    folder = tmp_path_factory.mktemp("planted")
    write_planted(folder / "model")
    rng = np.random.default_rng(0)
    texts = [" ".join(2 * [f"w{n}" for n in rng.permutation(16)[:9]]) for _ in range(40)]
    rows = [json.dumps({"text": text}) + "\n" for text in texts]
    (folder / "text.jsonl").write_text("".join(rows))
    return folder


def test_a_run_ranks_layers_parts_and_heads(planted: Path, tmp_path: Path):
    more = [
        *(f"model.path={planted}/model", f"localize.perplexity.text={planted}/text.jsonl"),
        *("localize.perplexity.length=19", "localize.heads=true", "localize.top_blocks=2"),
        "localize.projections=true",
        "localize.joint={pairs: 2, curves: true, sufficient: 0.8, level: head, conditions: "
        "{last: ['transformer.h.1'], both: ['transformer.h.*.mlp', "
        f"'transformer.h.1.attn[heads={INDUCTION}]']}}}}",
    ]
    settings = recipe(planted, tmp_path, *more)
    run_stage(STAGES["localize"], settings, Terminal(quiet=True))
    stage = tmp_path / "runs" / "lm" / "localize"
    found = read_json(stage / "ranking.json")
    base, guess = found["baseline"], math.log(WORDS)
    assert base["target"]["value"] == pytest.approx(guess - base["nll"]["value"])
    heads = [row for row in found["components"] if row["level"] == "head"]
    best = min(heads, key=lambda row: row["rank_in_level"])
    assert len(heads) == LAYERS * HEADS
    assert best["address"] == f"transformer.h.1.attn[heads={INDUCTION}]"
    assert best["target"]["value"] == pytest.approx(
        best["values"]["nll"]["value"] - base["nll"]["value"]
    )
    rows = read_jsonl(stage / "results.jsonl")
    assert len([row for row in rows if not row["condition"]]) == 24
    names = ("heads", "layers", "curves", "interactions", "sufficient", "bars")
    assert all((stage / f"{name}.png").exists() for name in names)
    table = read_json(stage / "heads.json")
    assert table["unit"] == "nats"
    assert head_cells(table).max() == pytest.approx(best["target"]["value"])
    own = {row["name"]: row for row in read_json(stage / "conditions.json")["conditions"]}
    assert own["last"]["mode"] == "skip"
    assert own["both"]["condition"][:2] == ["transformer.h.0.mlp", "transformer.h.1.mlp"]
    assert own["both"]["target"]["value"] > 0.5
    kept = (stage / "results.jsonl").read_bytes()
    (stage / "results.jsonl").write_bytes(b"\n".join(kept.split(b"\n")[:100]) + b'\n{"torn')
    (stage / "ranking.json").unlink()
    run_stage(STAGES["localize"], settings, Terminal(quiet=True))
    assert read_json(stage / "ranking.json") == found


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds no text"),
        (b"w1\0w2", "is no text file"),
        (b"\xff\xfe", "is not UTF-8"),
        (b"w1 w2 w3", "its longest document has 3 tokens, a sequence has 12"),
    ],
)
def test_texts_that_are_refused(model: LanguageModel, tmp_path: Path, content: bytes, says: str):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(UserError, match=says):
        sequences(model, tmp_path / "t.txt", 13)


def test_models_and_probes_that_do_not_fit(folder: Path, tmp_path: Path, tiny_flux_folder: Path):
    def refused(*more: str) -> str:
        with pytest.raises(UserError) as error:
            run_stage(STAGES["localize"], recipe(folder, tmp_path, *more), Terminal(quiet=True))
        return str(error.value)

    assert "is a language model" in refused("localize.probe=margin")
    assert "a pipeline of diffusers" in refused(f"model.path={tiny_flux_folder}")
    assert "has no examples" in refused("localize.probe=choice")
    assert "there is no text" in refused("localize.perplexity.text=null")
    assert "need 60 contrast groups" in refused("localize.perplexity.sequences=48")
