"""Families of causal language models; what must hold is in `language_checks`."""

import re
from pathlib import Path

import pytest
from language_checks import CHECKS, header, row
from tiny_language import FAMILIES

TABLE = Path(__file__).parents[2] / "docs" / "language-architectures.md"
QUICK = [
    *("llama", "gpt2", "opt", "falcon", "bloom", "gemma2", "mixtral", "gpt_oss", "jamba"),
    *("mamba", "nemotron_h", "qwen3_next"),
]
"""One of each kind: separate and fused projections, norms before and behind, experts, hybrids."""


def check_row(model_type: str) -> None:
    committed = TABLE.read_text()
    notes = re.findall(r"^\d+\. (.+)$", committed, re.MULTILINE)
    known = list(notes)
    assert row(model_type, notes) in committed
    assert notes == known


@pytest.mark.parametrize("model_type", QUICK)
def test_a_family_of_each_kind(model_type: str):
    check_row(model_type)


@pytest.mark.slow
@pytest.mark.parametrize("model_type", [name for name in FAMILIES if name not in QUICK])
def test_every_other_family(model_type: str):
    check_row(model_type)


def test_the_table_holds_these_families_and_no_others():
    committed = TABLE.read_text()
    assert committed.startswith(header())
    lines = [line for line in committed.splitlines() if line.startswith("| `")]
    assert [line.split("`")[1] for line in lines] == FAMILIES
    assert len(FAMILIES) >= 40


@pytest.mark.parametrize("model_type", ["llama", "gpt2", "opt", "mixtral", "gpt_oss", "mistral"])
def test_families_in_which_everything_holds(model_type: str):
    (line,) = (line for line in TABLE.read_text().splitlines() if f"| `{model_type}` |" in line)
    assert line.count("| yes ") == len(CHECKS)
