"""Features of a sparse autoencoder: taken out as by hand, planted ones ranked first."""

import json
from pathlib import Path

import pytest
import torch
from planted_language import OUT, WIDTH, WORDS, write_planted, write_repeats
from safetensors.torch import save_file
from tiny_language import tiny_language_model, tokens

from ablate2tune.ablation import Ablation, Support, ablated
from ablate2tune.ablation.support.sparse_features import SparseFeatures, load_features
from ablate2tune.errors import UserError
from ablate2tune.files import read_json
from ablate2tune.models import load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stages import STAGES, run_stage

LAYER = "model.layers.0"


def drawn(count: int = 7, width: int = 32) -> SparseFeatures:
    generator = torch.Generator().manual_seed(0)
    shapes = ((count, width), (count, width), (count,), (width,))
    return SparseFeatures(*(torch.randn(shape, generator=generator) for shape in shapes))


@torch.no_grad()
def test_a_feature_is_taken_out_as_by_hand():
    model, features, ids = tiny_language_model("llama"), drawn(), tokens()

    def by_hand(_module, _args, x):
        on = torch.relu((x - features.decoder_bias) @ features.encoder.T + features.encoder_bias)
        for number in (2, 5):
            x = x - on[..., number : number + 1] * features.decoder[number]
        return x

    support = Support(features={LAYER: features})
    with ablated(model, [Ablation(f"{LAYER}[features=2,5]", "feature")], support):
        found = model(ids).logits
    handle = model.get_submodule(LAYER).register_forward_hook(by_hand)
    expected = model(ids).logits
    handle.remove()
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(found, model(ids).logits, atol=1e-2)


def test_files_of_both_kinds_are_read(tmp_path: Path):
    features = drawn()
    save_file(
        {"W_enc": features.encoder.T.contiguous(), "b_enc": features.encoder_bias,
         "W_dec": features.decoder, "b_dec": features.decoder_bias},
        tmp_path / "sae_lens.safetensors",
    )  # fmt: skip
    save_file(
        {"encoder.weight": features.encoder, "encoder.bias": features.encoder_bias,
         "decoder.weight": features.decoder.T.contiguous(), "bias": features.decoder_bias},
        tmp_path / "modules.safetensors",
    )  # fmt: skip
    for name in ("sae_lens", "modules"):
        found = load_features(tmp_path / f"{name}.safetensors", 32)
        for part in ("encoder", "decoder", "encoder_bias", "decoder_bias"):
            assert torch.equal(getattr(found, part), getattr(features, part)), part


@pytest.mark.parametrize(
    ("held", "says"),
    [
        ({"W_enc": torch.ones(32, 7)}, "holds no decoder"),
        ({"W_enc": torch.ones(16, 7), "W_dec": torch.ones(7, 16)}, "the stream has 32 channels"),
        ({"W_enc": torch.ones(32, 7), "W_dec": torch.ones(8, 32)}, "its decoder is"),
        (
            {"W_enc": torch.full((32, 7), torch.nan), "W_dec": torch.ones(7, 32),
             "b_enc": torch.full((7,), torch.nan)},
            "not finite",
        ),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(tmp_path: Path, held: dict, says: str):
    save_file(held, tmp_path / "sae.safetensors")
    with pytest.raises(UserError, match=says):
        load_features(tmp_path / "sae.safetensors", 32)


@pytest.mark.parametrize(
    ("address", "mode", "says"),
    [
        (f"{LAYER}[features=7]", "feature", "feature 7 is out of range"),
        (f"{LAYER}[features=1]", "zero", "does not fit"),
        (f"{LAYER}.mlp[neurons=1]", "feature", "does not fit"),
        (f"{LAYER}.mlp[features=1]", "feature", "needs a sparse autoencoder|a block's output"),
        ("model.layers.1[features=1]", "feature", "needs a sparse autoencoder"),
    ],
)
def test_addresses_that_are_refused(address: str, mode: str, says: str):
    model = tiny_language_model("llama")
    support = Support(features={LAYER: drawn()})
    with pytest.raises(UserError, match=says), ablated(model, [Ablation(address, mode)], support):
        model(tokens())


@torch.no_grad()
def test_features_are_ranked_by_what_a_loop_of_hooks_finds(tmp_path: Path):
    """One feature for each word that the model is about to say; and as many that write nothing."""
    write_planted(tmp_path / "model")
    choices = write_repeats(tmp_path / "choices.jsonl", 40)
    reads = torch.zeros(2 * WORDS, WIDTH)
    reads[:WORDS, OUT] = torch.eye(WORDS)
    writes = reads.clone()
    writes[WORDS:] = 0
    save_file({"W_enc": reads.T.contiguous(), "W_dec": writes}, tmp_path / "sae.safetensors")
    (tmp_path / "recipe.yaml").write_text(
        f"name: sae\nseed: 1\nmodel: {{path: {tmp_path}/model, device: cpu}}\nruns: {tmp_path}\n"
        f"localize:\n  probe: choice\n  mode: zero\n  contrasts: {choices}\n  top_blocks: 1\n"
        f"  choice: {{groups: 40}}\n  bootstrap: 200\n  features: {{file: {tmp_path}/"
        "sae.safetensors, block: transformer.h.1, chosen: [4, 5, 6, 7, 8, 9, 25]}\n"
    )
    run_stage(STAGES["localize"], load_recipe(tmp_path / "recipe.yaml", []), Terminal(quiet=True))
    found = read_json(tmp_path / "sae" / "localize" / "features.json")["conditions"]
    lost = {row["feature"]: row["target"]["value"] for row in found}
    model = load_language_model(ModelConfig(path=str(tmp_path / "model"), device="cpu"))
    rows = [json.loads(line) for line in choices.read_text().splitlines()]
    ids = torch.tensor([model.encode(row["prompt"]) for row in rows])
    right, wrong = (
        torch.tensor([model.encode(text, special=False)[0] for text in texts])
        for texts in ([row["answer"] for row in rows], [row["foils"][0] for row in rows])
    )

    def margins() -> torch.Tensor:
        last = model.logits(ids)[:, -1]
        return last.gather(1, right[:, None])[:, 0] - last.gather(1, wrong[:, None])[:, 0]

    whole, expected = margins(), {25: 0.0}
    for number in range(4, 10):

        def without(_module, _args, x, place=OUT.start + number):
            x = x.clone()
            x[..., place] -= x[..., place].relu()
            return x

        handle = model.model.get_submodule("transformer.h.1").register_forward_hook(without)
        expected[number] = float((whole - margins()).mean())
        handle.remove()
    assert lost == {number: pytest.approx(value, abs=1e-4) for number, value in expected.items()}
    assert [row["feature"] for row in found] == sorted(lost, key=lambda number: -lost[number])
    assert max(lost.values()) > 0.3
