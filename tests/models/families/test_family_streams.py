"""What patching and the information curve need of a family: that its streams are found."""

from collections import defaultdict

import numpy as np
import pytest
import torch
from tiny_parts import drawn
from tiny_pipelines import FAMILIES, Family

from ablate2tune.components import discover
from ablate2tune.localize.findings.depth.caption_runs import caption_runs
from ablate2tune.localize.findings.depth.stream_features import INPUT, Reduction, read_streams
from ablate2tune.localize.margins.caption_losses import Levels, batches
from ablate2tune.localize.margins.encoded_examples import encode
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.engine import BASELINE, Engine
from ablate2tune.models import Denoiser, load_denoiser
from ablate2tune.models.model_config import ModelConfig

JOINT = (
    *("Flux", "StableDiffusion3", "AuraFlow", "QwenImage", "Chroma", "CogView4", "Flux2"),
    *("Flux2Klein", "CogView3Plus"),
)
"""Families whose blocks continue a text and an image stream."""
SIZE = 32


@pytest.fixture(scope="module")
def records(make_contrasts):
    return [r for r in make_contrasts(3, SIZE) if r.facts["relation"] in ("left of", "right of")]


@pytest.fixture(params=FAMILIES, ids=str)
def loaded(request, tmp_path) -> tuple[Family, Denoiser]:
    family: Family = request.param
    torch.manual_seed(0)
    pipe = family.build()
    drawn(pipe.components.get("transformer") or pipe.unet)
    pipe.save_pretrained(tmp_path)
    sizes = {"height": SIZE, "width": SIZE, "max_sequence_length": family.tokens}
    return family, load_denoiser(ModelConfig(path=str(tmp_path), device="cpu", **sizes))


def test_streams_and_patches(loaded, records):
    family, denoiser = loaded
    examples, runs = encode(denoiser, records), caption_runs(records)[:2]
    found = read_streams(denoiser, examples, runs, [0.7], 0, 2, Reduction(0))
    streams = defaultdict(set)
    for key, x in found.items():
        assert np.isfinite(x).all(), key
        assert len(x) == (4 if key.part == "phrases" else 2)
        streams[key.block].add(key.stream)
    blocks = [f"{stack}.{i}" for stack, count in family.blocks.items() for i in range(count)]
    assert set(streams) == {INPUT, *blocks}
    if str(family) in JOINT:
        ends = {"transformer_blocks.1"} if str(family) == "StableDiffusion3" else set()
        for block, names in streams.items():
            assert names == ({"image"} if block in ends else {"text", "image"}), block
    # All that blocks add comes from the other caption: so does the loss, unless the caption has a
    # way around them, by a pooled embedding.
    engine = Engine(denoiser, 64)
    batch = next(batches(examples, Levels([0.7], 1, 0, 64), range(2), denoiser.device, others=True))
    able = [b.address for b in discover(denoiser.model).blocks if b.obstacle is None]
    everything = Condition(tuple(able), "patch")
    losses = engine.losses(batch, [BASELINE, everything])
    base, patched = losses[BASELINE], losses[everything]
    assert np.isfinite(patched).all()
    pooled = examples.conditioning.pooled is not None
    if not pooled and not family.unskippable:
        assert np.abs(base[2:4] / base[:2] - 1).min() > 1e-6
        np.testing.assert_allclose(patched[2:4], base[:2], rtol=1e-4)
        np.testing.assert_allclose(patched[:2], base[2:4], rtol=1e-4)
