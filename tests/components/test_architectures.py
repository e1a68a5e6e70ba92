"""Every transformer class of diffusers' image pipelines; what must hold is in `checks`."""

import functools
import re
from pathlib import Path

import diffusers
import pytest
import torch
from architectures import ALL, IMAGE
from architectures.checks import CHECKS, StackReport, Subject, examine
from architectures.table import header, rows
from architectures.tiny import Tiny

from ablate2tune.ablation import Ablation
from ablate2tune.components import discover
from ablate2tune.components.overrides import BATCH_AXIS, NO_HEADS
from ablate2tune.errors import UserError

TABLE = Path(__file__).parents[2] / "docs" / "architectures.md"
BY_NAME = {tiny.name: tiny for tiny in ALL}


@functools.cache
def report(name: str) -> dict[str, StackReport]:
    return examine(BY_NAME[name])


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_class(tiny: Tiny):
    for stack, found in report(tiny.name).items():
        for check, verdict in found.verdicts.items():
            # A recorded reason must still be needed, and a failure must have one.
            assert verdict.held == (verdict.reason is None), f"{stack}: {check}: {verdict.reason}"


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_the_committed_table_is_current(tiny: Tiny):
    committed = TABLE.read_text()
    notes = re.findall(r"^\d+\. (.+)$", committed, re.MULTILINE)
    known = list(notes)
    for line in rows(tiny.name, report(tiny.name), notes):
        assert line in committed
    assert notes == known


JOINT = [
    *("AuraFlow", "Bria", "BriaFibo", "Chroma", "CogView3Plus", "CogView4", "Flux", "Flux2"),
    *("Flux3", "GlmImage", "HiDreamImage", "HunyuanImage", "JoyImageEdit", "JoyImageEditPlus"),
    *("LongCatImage", "OvisImage", "QwenImage", "SD3", "CogVideoX", "EasyAnimate", "HunyuanVideo"),
    *("HunyuanVideo15", "Mochi", "MotifVideo"),
]


@pytest.mark.parametrize("tiny", ALL, ids=lambda tiny: tiny.name)
def test_streams_together_are_the_whole(tiny: Tiny):
    subject = Subject(tiny)
    joint = 0
    for blocks in subject.catalogue.stacks.values():
        block = blocks[0]
        for part in [block, *(p for p in subject.catalogue.children(block) if p.writes)]:
            mode = "skip" if part is block else "zero"
            found = []
            for stream in ("image", "text"):
                ablation = Ablation(f"{part.address}@{stream}", mode)
                try:
                    subject.under(ablation)
                except UserError:
                    continue
                found.append(ablation)
            if len(found) == 2:
                joint += part is block
                one, other = subject.under(found[0]), subject.under(found[1])
                assert not torch.equal(one, other), part.address
            if found:
                whole = subject.under(Ablation(part.address, mode))
                assert torch.equal(subject.under(*found), whole), part.address
    short = tiny.name.replace("Transformer2DModel", "").replace("Transformer3DModel", "")
    assert (joint > 0) == (short in JOINT)


def test_the_table_holds_these_classes_and_no_others():
    committed = TABLE.read_text()
    assert committed.startswith(header())
    listed = {line.split()[1] for line in committed.splitlines() if "`" in line and line[0] == "|"}
    assert listed == set(BY_NAME)


def test_there_are_enough_classes_and_each_has_every_check():
    assert len(ALL) == len(BY_NAME) >= 45
    assert all(
        set(found.verdicts) == set(CHECKS) for found in report("SD3Transformer2DModel").values()
    )


def test_every_2d_transformer_of_diffusers_is_here():
    classes = {name for name in dir(diffusers) if name.endswith("Transformer2DModel")}
    assert classes <= {tiny.name for tiny in IMAGE}


def test_a_config_alone_gives_the_same_catalogue():
    tiny = BY_NAME["FluxTransformer2DModel"]
    with torch.device("meta"):
        empty = diffusers.FluxTransformer2DModel(**tiny.config)
    assert list(discover(empty)) == list(discover(tiny.build()))


def test_the_override_table_names_classes_that_exist():
    kinds = {
        type(module).__name__
        for name in ("ErnieImageTransformer2DModel", "LuminaNextDiT2DModel")
        for module in BY_NAME[name].build().modules()
    }
    assert {*BATCH_AXIS, *NO_HEADS} <= kinds
