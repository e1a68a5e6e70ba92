"""Token positions: spans by hand, masks by the tokenizer's own words, impacts by plain forwards."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from PIL import Image
from test_localize import CONFIG, SEED, favour, plain_margins  # type: ignore[import-not-found]

from ablate2tune.errors import UserError
from ablate2tune.localize.findings.token_positions import token_cells
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.localize.margins.phrase_tokens import token_masks

PHRASES = ["relation", "subject", "object"]
BLOCK = "transformer_blocks.1"


def test_masks_hold_the_words_of_each_caption(tiny_flux, make_contrasts):
    records = make_contrasts(3)
    examples = encode(tiny_flux, records)
    masks = token_masks(tiny_flux, examples, records, PHRASES)
    tokenizer = tiny_flux.pipe.tokenizer_2
    for i, record in enumerate(records):
        for role, text in record.texts.items():
            row = examples.rows[role][i]
            words = tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)
            marked = {
                phrase: [words[at] for at in masks[phrase][row].nonzero().flatten().tolist()]
                for phrase in PHRASES
            }
            whole = [*marked["subject"], *marked["relation"], *marked["object"]]
            assert whole == text.split() == words[:-1]
            assert marked["object"][1:] == [record.facts["object_colour"], record.facts["object"]]
            assert marked["subject"][-1] == record.facts["subject"]
    texts = {**records[0].texts, "true": f"{records[0].text}{' a' * 20}"}
    short = dataclasses.replace(
        records[0],
        texts=texts,
        spans=records[0].spans | {"true": {"object": (0, len(texts["true"]))}},
    )
    with pytest.raises(UserError, match="does not fit in 16 tokens"):
        token_masks(tiny_flux, encode(tiny_flux, [short]), [short], ["object"])
    unnamed = dataclasses.replace(records[0], spans={})
    with pytest.raises(UserError, match="the true text names no phrase 'subject'"):
        token_masks(tiny_flux, examples, [unnamed], ["subject"])


def test_which_positions_matter_against_plain_forwards(
    tiny_flux, make_contrasts, tmp_path, monkeypatch
):
    """A hook of the test's own puts a block's text input back at positions counted by words."""
    monkeypatch.setattr("ablate2tune.localize.findings.follow_up.GROUPS", 4)
    records = favour(tiny_flux, make_contrasts(8))
    changes = {"groups": 8, "mode": "zero", "tokens": PHRASES}
    config = CONFIG.model_copy(update={**changes, "noise_floor": False, "top_blocks": 1})
    ranking = localize(tiny_flux, records, config, SEED, tmp_path)
    data = json.loads((tmp_path / "tokens.json").read_text())
    assert len(data["positions"]) == 4 * 3
    assert data["left_out"] == {}
    assert token_cells(data).shape == (4, 3)
    assert min(Image.open(tmp_path / "tokens.png").size) > 200
    assert any(note.startswith("tokens: ") for note in ranking.notes)
    rows = [json.loads(line) for line in (tmp_path / "follow-up.jsonl").read_text().splitlines()]
    names = {row["example"] for row in rows}
    used = [record for record in records if record.id in names]
    foils = [record.texts["target"] for record in used]
    base = plain_margins(tiny_flux, used, foils)

    def relation_words(text: str) -> tuple[int, int]:
        words = text.split()
        colours = [i for i, word in enumerate(words) if word in ("a", "an")]
        return 3, colours[1]  # "a red cube RELATION a blue ball"

    state: dict[str, list[str]] = {}

    def hook(_module, _args, kwargs, output):
        text = output[0].clone()
        for row, caption in enumerate(state["texts"]):
            span = slice(*relation_words(caption))
            text[row, span] = kwargs["encoder_hidden_states"][row, span]
        return text, output[1]

    encode_prompts = tiny_flux.encode_prompts

    def noted(texts):
        state["texts"] = list(texts)
        return encode_prompts(texts)

    tiny_flux.encode_prompts = noted
    handle = tiny_flux.model.get_submodule(BLOCK).register_forward_hook(hook, with_kwargs=True)
    cut = plain_margins(tiny_flux, used, foils)
    handle.remove()
    (row,) = [r for r in data["positions"] if r["address"] == f"{BLOCK}@tokens=relation"]
    assert np.abs(base - cut).max() > 1e-6
    assert row["target"]["value"] == pytest.approx((base - cut).mean(), abs=1e-7)
    # The last block's text goes nowhere.
    last = [r for r in data["positions"] if r["block"] == "single_transformer_blocks.1"]
    assert [r["target"]["value"] for r in last] == pytest.approx([0, 0, 0], abs=1e-7)
    assert torch.is_tensor(encode_prompts(["a cube"]).prompt_embeds)


def test_a_phrase_named_twice_is_refused():
    with pytest.raises(ValueError, match="a phrase comes twice"):
        LocalizeConfig(tokens=["relation", "relation"])
