"""What a layer sweep of a language model costs: a plain loop of hooks, a peer, and ours.

    python benchmarks/language.py                       a random Llama of 24 layers of width 256
    python benchmarks/language.py MODEL --text FILE     a model of your own on a text of your own
    python benchmarks/language.py --peer nnsight        beside a peer, where it is installed

All measure the same: the mean negative log-likelihood of the same sequences, with each layer
skipped in turn and with none. The plain loop runs one whole forward per condition and batch, with a
forward hook that hands the layer's input on. The figures must agree; the ratio of times is what is
compared. Every way runs once unmeasured on one batch before.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig

from ablate2tune.components import discover
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.engine import Engine
from ablate2tune.localize.text.sequences import sequences, token_rows
from ablate2tune.localize.text.token_batch import TokenBatch
from ablate2tune.localize.text.token_means import TokenMeans
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig

LAYERS, WIDTH = 24, 256
Losses = Callable[[Tensor], np.ndarray]
"""From token numbers, (rows, tokens), to the losses without each layer, (1 + layers, rows)."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--rows", type=int, default=8, help="sequences in all")
    parser.add_argument("--batch", type=int, default=4, help="sequences per forward")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--peer", choices=["nnsight"])
    args = parser.parse_args()
    lm = load_language_model(ModelConfig(path=args.model)) if args.model else _random()
    if args.text:
        rows = torch.tensor(token_rows(sequences(lm, args.text, args.length))[: args.rows])
    else:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(lm.vocabulary, (args.rows, args.length), generator=generator)
    batches = list(rows.split(args.batch))
    blocks = [block.address for block in discover(lm.model).blocks]
    ways: dict[str, Losses] = {"plain loop": _plain(lm, blocks), "ablate2tune": _ours(lm, blocks)}
    if args.peer:
        ways[args.peer] = _nnsight(lm, blocks)
    print(f"{len(blocks)} layers, {len(rows)} sequences of {rows.shape[1]} tokens; "
          f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
          f"{torch.get_num_threads()} threads, torch {torch.__version__}")  # fmt: skip
    found: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for name, way in ways.items():
        way(batches[0])
        began = time.perf_counter()
        found[name] = np.concatenate([way(batch) for batch in batches], axis=1).mean(1)
        seconds[name] = time.perf_counter() - began
    for name in ways:
        apart = np.abs(found[name] - found["plain loop"]).max()
        print(f"{name:12s} {seconds[name]:7.1f} s  {seconds['plain loop'] / seconds[name]:.2f} x  "
              f"largest difference {apart:.1g} nats")  # fmt: skip


def _random() -> LanguageModel:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=2048, hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=LAYERS,
        num_attention_heads=8, num_key_value_heads=4,
    )  # fmt: skip
    return LanguageModel(AutoModelForCausalLM.from_config(config), None, ModelConfig(path="random"))


def _losses(logits: Tensor, ids: Tensor) -> np.ndarray:
    logs = logits[:, :-1].float().log_softmax(-1)
    return -logs.gather(2, ids[:, 1:, None])[..., 0].mean(1).double().cpu().numpy()


def _plain(lm: LanguageModel, blocks: list[str]) -> Losses:
    def handed_on(_module, args, output):
        return args[0] if isinstance(output, Tensor) else (args[0], *output[1:])

    @torch.no_grad()
    def run(ids: Tensor) -> np.ndarray:
        found = [_losses(lm.logits(ids), ids)]
        for block in blocks:
            handle = lm.model.get_submodule(block).register_forward_hook(handed_on)
            found.append(_losses(lm.logits(ids), ids))
            handle.remove()
        return np.stack(found)

    return run


def _ours(lm: LanguageModel, blocks: list[str]) -> Losses:
    conditions = [BASELINE, *(Condition((block,), "skip") for block in blocks)]

    def run(ids: Tensor) -> np.ndarray:
        engine = Engine(lm, len(ids), means=TokenMeans())
        found = engine.losses(TokenBatch.of(ids.tolist(), [1] * len(ids)), conditions)
        return np.stack([found[condition] for condition in conditions])

    return run


def _nnsight(lm: LanguageModel, blocks: list[str]) -> Losses:
    from nnsight import NNsight  # type: ignore

    traced = NNsight(lm.model)

    def part(path: str):
        found = traced
        for name in path.split("."):
            found = found[int(name)] if name.isdecimal() else getattr(found, name)
        return found

    @torch.no_grad()
    def run(ids: Tensor) -> np.ndarray:
        found = [_losses(lm.logits(ids), ids)]
        for block in blocks:
            layer = part(block)
            with traced.trace(input_ids=ids, use_cache=False):
                layer.output = layer.input
                out = traced.output.logits.save()
            found.append(_losses(out, ids))
        return np.stack(found)

    return run


if __name__ == "__main__":
    main()
