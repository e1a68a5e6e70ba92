"""Text encoders pretrained on text alone, then frozen, as FLUX's are.

Trained jointly with a denoiser on captions whose order rarely matters, a small encoder throws
word order away, and then nothing in the denoiser can be taught who stands where. So both learn
to keep the sentence: every T5 token predicts each word of its caption and its own place in it,
with some input words masked; CLIP's pooled vector predicts each word of the caption. And they learn
what relations mean to their two sides, as large encoders do from text in which "A behind B" and
"B in front of A" mean the same: the words of an object predict how it stands to the other one.
"""

import random
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from diffusers import FluxPipeline
from torch import Tensor, nn

from ablate2tune import seeding
from ablate2tune.scenes import vocabulary
from ablate2tune.testbed.optimisation import Parts, Progress, resumable_training
from ablate2tune.testbed.testbed_recipe import PartConfig

MASKED = 0.15
"""Share of the T5's input words replaced by <unk>."""
PLACES = 12
"""Longest caption in tokens that the objectives look at."""
UNRELATED = -1
"""In place of a relation's index where there is none."""


def word_list() -> list[str]:
    """All words that captions are made of."""
    phrases = ["a an and", *vocabulary.KINDS, *vocabulary.COLOURS, *vocabulary.RELATIONS]
    return list(dict.fromkeys(word for phrase in phrases for word in phrase.split()))


def random_caption(rng: random.Random) -> str:
    """A caption of two coloured objects; three in four state a relation."""
    kinds = list(vocabulary.KINDS)
    first, second = rng.sample(list(vocabulary.COLOURS), 2)
    subject, thing = rng.choice(kinds), rng.choice(kinds)
    relation = None if rng.random() < 0.25 else rng.choice(list(vocabulary.RELATIONS))
    return vocabulary.caption(first, subject, relation, second, thing)


class TextHeads(nn.Module):
    """Both encoders with the linear heads of their objectives."""

    def __init__(self, pipe: FluxPipeline):
        super().__init__()
        self.t5, self.clip = pipe.text_encoder_2, pipe.text_encoder
        width, words = self.t5.config.d_model, self.t5.config.vocab_size
        self.sentence = nn.Linear(width, PLACES * words)
        self.place = nn.Linear(width, PLACES)
        self.standing = nn.Linear(width, len(vocabulary.RELATIONS))
        self.pooled_sentence = nn.Linear(width, PLACES * words)


def pretrain_text(
    pipe: FluxPipeline,
    config: PartConfig,
    seed: int,
    work: Path,
    on_progress: Progress | None = None,
) -> None:
    """Train both text encoders of the pipeline in place on generated captions."""
    torch.manual_seed(seeding.seed_for(seed, "text-heads"))
    heads = TextHeads(pipe)

    def parts_at(step: int) -> Parts:
        rng = random.Random(seeding.seed_for(seed, "text", step))
        captions = [random_caption(rng) for _ in range(config.batch_size)]
        generator = seeding.torch_generator(seed, "text-mask", step)
        return [lambda: text_loss(pipe, heads, captions, generator)]

    resumable_training("text", heads, parts_at, config, work, on_progress)


def text_loss(
    pipe: FluxPipeline, heads: TextHeads, captions: list[str], generator: torch.Generator
) -> Tensor:
    """The sum of the four objectives on a batch of captions (cross entropies, in nats)."""
    t5_ids = _tokens(pipe.tokenizer_2, captions)
    clip_ids = _tokens(pipe.tokenizer, captions)
    places = t5_ids[:, :PLACES]
    real = places != pipe.tokenizer_2.pad_token_id
    masked = (torch.rand(t5_ids.shape, generator=generator) < MASKED) & (t5_ids > 2)
    hidden = heads.t5(input_ids=torch.where(masked, 2, t5_ids)).last_hidden_state[:, :PLACES]
    words = heads.t5.config.vocab_size
    batch = len(captions)

    told = heads.sentence(hidden[real]).view(-1, PLACES, words)
    wanted = places[:, None].expand(batch, PLACES, PLACES)[real]
    sentence = F.cross_entropy(told.flatten(0, 1), wanted.flatten())
    index = torch.arange(PLACES).expand(batch, PLACES)[real]
    place = F.cross_entropy(heads.place(hidden[real]), index)

    wanted = torch.tensor([standings(caption) for caption in captions])
    told = heads.standing(hidden).flatten(0, 1)
    standing = F.cross_entropy(told, wanted.flatten(), ignore_index=UNRELATED)

    pooled = heads.clip(clip_ids).pooler_output
    told = heads.pooled_sentence(pooled).view(batch * PLACES, words)
    pooled_sentence = F.cross_entropy(told, places.flatten())
    return sentence + 0.5 * place + standing + pooled_sentence


def standings(caption: str) -> list[int]:
    """How each word's object stands to the other one: an index into `RELATIONS`, by place.

    "a red ball behind a blue cube": "behind" for the first three words, "in front of" for the last
    three; `UNRELATED` for the others and for captions without a relation.
    """
    known = [UNRELATED] * PLACES
    for index, relation in enumerate(vocabulary.RELATIONS):
        subject, stated, thing = caption.partition(f" {relation} ")
        if stated:
            opposite = vocabulary.RELATIONS.index(vocabulary.OPPOSITE[relation])
            first, middle, last = (len(part.split()) for part in (subject, relation, thing))
            known[:first] = [index] * first
            known[first + middle : first + middle + last] = [opposite] * last
    return known


def _tokens(tokenizer, captions: list[str]) -> Tensor:
    return tokenizer(
        captions, padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt"
    ).input_ids


class ProbeAccuracy(NamedTuple):
    """Held-out accuracy of linear readouts of the frozen encoders."""

    role: float
    """Subject or object, read from a colour word's T5 embedding; chance is 0.5."""
    relation: float
    """Which relation, read from the mean T5 embedding; chance is one in the relations."""
    pooled_relation: float
    """Which relation, read from CLIP's pooled vector."""


@torch.no_grad()
def probe_text(pipe: FluxPipeline, seed: int, captions: int = 3000) -> ProbeAccuracy:
    """Linear readouts of subject/object role and relation on fresh captions."""
    rng, kinds = random.Random(seeding.seed_for(seed, "probe")), list(vocabulary.KINDS)
    relations, colours, texts = [], [], []
    for _ in range(captions):
        first, second = rng.sample(list(vocabulary.COLOURS), 2)
        relation = rng.choice(list(vocabulary.RELATIONS))
        subject, thing = rng.choice(kinds), rng.choice(kinds)
        texts.append(vocabulary.caption(first, subject, relation, second, thing))
        colours.append((first, second))
        relations.append(list(vocabulary.RELATIONS).index(relation))
    embeds, pooled, _ = pipe.encode_prompt(
        texts, max_sequence_length=pipe.tokenizer_2.model_max_length
    )
    assert embeds is not None and pooled is not None
    ids = _tokens(pipe.tokenizer_2, texts)
    rows, roles = [], []
    for index, pair in enumerate(colours):
        for role, colour in enumerate(pair):
            token = pipe.tokenizer_2.convert_tokens_to_ids(colour)
            rows.append(embeds[index, (ids[index] == token).nonzero()[0, 0]])
            roles.append(role)
    target = torch.tensor(relations)
    return ProbeAccuracy(
        role=linear_probe(torch.stack(rows), torch.tensor(roles)),
        relation=linear_probe(embeds.mean(1), target),
        pooled_relation=linear_probe(pooled, target),
    )


def linear_probe(features: Tensor, labels: Tensor, held_out: float = 0.2) -> float:
    """Held-out accuracy of a multinomial logistic regression (L-BFGS, light ridge)."""
    features = (features - features.mean(0)) / (features.std(0) + 1e-6)
    split = int(len(features) * (1 - held_out))
    probe = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(probe.weight)
    optimizer = torch.optim.LBFGS(probe.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(probe(features[:split]), labels[:split])
        loss = loss + 1e-4 * probe.weight.square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimizer.step(closure)
    guess = probe(features[split:]).argmax(1)
    return (guess == labels[split:]).float().mean().item()
