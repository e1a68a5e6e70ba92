"""A real small GPT-2 whose weights are written so that one head alone does induction.

The stream holds, in subspaces of their own, the token, its position, the token before it and what
is predicted. In layer 0 two heads both write each position's previous token, so that either can be
missed; in layer 1 one head attends to where the previous token is the present one, and writes the
token there into what the head of the model reads. All other heads and both MLPs have small random
weights: they are alive.
"""

import json
from pathlib import Path

import numpy as np
import torch
from tiny_language import tiny_language_model, word_tokenizer
from torch import Tensor
from transformers import PreTrainedModel

WORDS, HEADS, LAYERS = 20, 4, 2
TOKEN, PLACE, BEFORE, OUT = (slice(part * WORDS, (part + 1) * WORDS) for part in range(4))
WIDTH = HEADS * WORDS
PREVIOUS, INDUCTION = (0, 2), 1
"""The heads of layer 0 that write the previous token, and that of layer 1 that does induction."""
SHARP = 2.0
"""Scale of queries: attention is all but a choice."""


@torch.no_grad()
def planted_model() -> PreTrainedModel:
    """The model: 2 layers of 4 heads, 20 words, 20 positions."""
    model = tiny_language_model(
        "gpt2",
        vocab_size=WORDS,
        n_positions=WORDS,
        n_embd=WIDTH,
        n_head=HEADS,
        n_layer=LAYERS,
        tie_word_embeddings=False,
    )
    for name, parameter in model.named_parameters():
        if ".h." in name and "ln_" not in name:
            parameter.mul_(0.02)
    wte, wpe = model.transformer.wte.weight, model.transformer.wpe.weight
    wte.zero_(), wpe.zero_(), model.lm_head.weight.zero_()
    wte[:, TOKEN], wpe[:, PLACE] = torch.eye(WORDS), torch.eye(WORDS)
    model.lm_head.weight[:, OUT] = 2 * torch.eye(WORDS)
    # What a LayerNorm makes of a token and a position, each one among WIDTH channels.
    size = float(torch.nn.functional.layer_norm((wte + wpe)[:1], (WIDTH,))[0, 0])
    for head in PREVIOUS:
        before = torch.roll(torch.eye(WORDS), -1, 1)  # position i looks for i - 1
        _head(model, 0, head, (PLACE, before), (PLACE, torch.eye(WORDS)), BEFORE, 0.5 / size)
    _head(model, 1, INDUCTION, (TOKEN, torch.eye(WORDS)), (BEFORE, torch.eye(WORDS)), OUT, 1 / size)
    return model


def _head(
    model: PreTrainedModel,
    layer: int,
    head: int,
    query: tuple[slice, Tensor],
    key: tuple[slice, Tensor],
    to: slice,
    gain: float,
) -> None:
    """One head: queries and keys read subspaces, values are tokens, the output goes to `to`."""
    attention = model.transformer.h[layer].attn
    own = slice(head * WORDS, (head + 1) * WORDS)
    for part, (source, matrix) in enumerate((query, key, (TOKEN, torch.eye(WORDS)))):
        columns = slice(part * WIDTH + own.start, part * WIDTH + own.stop)
        attention.c_attn.weight[:, columns] = 0
        attention.c_attn.bias[columns] = 0
        attention.c_attn.weight[source, columns] = matrix * (SHARP if part == 0 else 1)
    attention.c_proj.weight[own] = 0
    attention.c_proj.weight[own, to] = gain * torch.eye(WORDS)


def write_planted(folder: Path) -> Path:
    """The model as a checkpoint, with a tokenizer of its words."""
    planted_model().save_pretrained(folder)
    word_tokenizer(WORDS).save_pretrained(folder)
    return folder


def write_repeats(path: Path, count: int, seed: int = 0) -> Path:
    """Prompts `... A B ... C D ... A`, whose answer by induction is B; the foil is D."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        words = [f"w{n}" for n in rng.permutation(WORDS - 4)[:9]]
        at, other = rng.permutation([1, 3, 5, 7])[:2]
        prompt = " ".join([*words, words[at]])
        rows.append({"prompt": prompt, "answer": f" {words[at + 1]}", "foils": [
            f" {words[other + 1]}"]})  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
