import csv
import io

import numpy as np
import pytest
from rich.console import Console

from ablate2tune.localize.ranking import figures
from ablate2tune.localize.ranking.bars import bars_data
from ablate2tune.localize.ranking.ordering import doubts
from ablate2tune.localize.ranking.ranking_figures import (
    heatmap_cells,
    table,
    write_csv,
    write_heatmap,
)
from ablate2tune.localize.ranking.ranking_file import Ranking

BLOCKS = [f"single_transformer_blocks.{i}" for i in range(38)]


def interval(value: float) -> dict:
    return {"value": value, "low": value - 1e-5, "high": value + 1e-5, "n": 192}


def row(address: str, level: str, rank: int, relative: float, label: str = "helps") -> dict:
    return {
        "address": address,
        "level": level,
        "mode": "skip" if level == "block" else "mean",
        "rank": rank,
        "rank_in_level": rank,
        "target": interval(relative * 2e-4),
        "control": interval(1e-4),
        "quality": interval(3e-3),
        "relative": {"target": relative, "control": 0.25, "quality": 0.1},
        "specificity": relative - 0.25,
        "p": 0.004,
        "p_uncorrected": 0.001,
        "label": label,
        "parameters": 1000,
        "lora_targets": [address],
    }


FIGURES = [
    {"name": "target", "title": "margin over the target foil"},
    {"name": "control", "title": "margin over the control foil"},
    {"name": "quality", "title": "minus the loss"},
]
RANKING = {
    "figures": FIGURES,
    "figure": "target",
    "shows_values": False,
    "rank_by": "impact",
    "ranked_by": "impact",
    "baseline": {"target": interval(2e-4), "control": interval(4e-4), "quality": interval(-0.032)},
    "components": [
        row(BLOCKS[37], "block", 1, 1.5, "critical for everything"),
        row(BLOCKS[3], "block", 2, 0.5),
        row(f"{BLOCKS[37]}.proj_out", "sublayer", 1, 0.75),
        row(f"{BLOCKS[37]}.proj_mlp", "sublayer", 2, -0.125, "hurts"),
    ],
}


def printed(ranking: dict, **options) -> list[str]:
    console = Console(width=80, file=io.StringIO(), color_system=None)
    console.print(table(ranking, **options))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_table_fits_80_columns_and_starts_with_the_baseline():
    lines = printed(RANKING)
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)
    body = [line for line in lines if "single_" in line or "(baseline)" in line]
    # (2e-4 -+ 1e-5) / 2e-4 = 95..105 %
    assert body[0].split() == ["(baseline)", "2.0e-4", "95..105", "4.0e-4", "0.032"]
    first = ["single_transformer_blocks.37", "+150%", "145..155", "+25%", "+10%", "critical"]
    assert body[1].split() == first
    assert body[3].split()[0] == "single_transformer_blocks.37.proj_out"
    assert "-12%" in body[4]
    assert "-18..-8" in body[4]  # (-2.5e-5 -+ 1e-5) / 2e-4 = -17.5 % and -7.5 %
    assert len(printed(RANKING, top=1)) == len(lines) - 2


def test_table_without_a_control_margin():
    components = [
        RANKING["components"][0] | {"relative": {"target": 1.0, "control": None, "quality": 0.0}}
    ]
    assert any("–" in line for line in printed(RANKING | {"components": components}))


GAINS = [0.5, -0.25, 1.0, 2.0]
BY_GAIN = RANKING | {
    "rank_by": "gradient",
    "ranked_by": "gradient",
    "components": [
        part | {"gain": {"value": gain, "low": gain - 1, "high": gain + 1, "n": 96}}
        for part, gain in zip(RANKING["components"], GAINS, strict=True)
    ],
}


def test_what_orders_the_table_is_shown_first():
    lines = printed(BY_GAIN)
    assert max(map(len, lines)) <= 80
    assert "…" not in "\n".join(lines)
    head = next(line for line in lines if "component" in line and "label" in line)
    assert head.split() == [
        "component",
        "gain",
        "interval",
        "target",
        "control",
        "loss",
        "label",
    ]
    assert any("ordered by gain" in line for line in lines)
    body = [line.split() for line in lines if BLOCKS[37] in line]
    # Of the largest gain, 2: 0.5 is 25 %, its interval -25 to 75 %.
    assert body[0] == [BLOCKS[37], "+25%", "-25..75", "+150%", "+25%", "+10%", "critical"]
    by_share = RANKING | {"ranked_by": "specificity"}
    parts = [
        p | {"specificity_interval": interval(p["specificity"])} for p in by_share["components"]
    ]
    lines = printed(by_share | {"components": parts})
    head = next(line for line in lines if "component" in line and "label" in line)
    assert head.split()[1:4] == ["specific", "interval", "target"]


def test_csv_and_bars_show_what_orders_them(tmp_path):
    write_csv(BY_GAIN, tmp_path / "ranking.csv")
    with (tmp_path / "ranking.csv").open() as file:
        read = csv.DictReader(file)
        assert list(read.fieldnames or ())[6:10] == ["gain", "gain_low", "gain_high", "target"]
        assert [float(r["gain"]) for r in read] == GAINS
    data = bars_data(BY_GAIN | {"confidence": 0.95, "trust": {"noise_floor": 0.1}})
    assert [bar["value"] for bar in data["bars"]] != sorted(GAINS)
    assert {bar["value"] for bar in data["bars"]} == set(GAINS)
    assert "adapter could gain" in data["figure"]
    assert data["noise_floor"] is None  # of impacts


def test_what_heads_a_ranking_is_doubted():
    addresses = [part["address"] for part in BY_GAIN["components"]]
    gain, negative = doubts(BY_GAIN, addresses)
    assert gain.startswith("3 of the 4 that are ranked first have a gain that cannot be told")
    assert negative.startswith("1 of the 4 that are ranked first have an impact below zero")
    assert f"{BLOCKS[37]}.proj_mlp" in negative
    assert doubts(RANKING, addresses[:3]) == []
    neutral = [part | {"label": "neutral"} for part in RANKING["components"][:2]]
    (line,) = doubts(RANKING | {"components": neutral}, addresses)
    assert line.startswith("all 2 that are ranked first are neutral")


NOT_DOUBTED = {"trust": {"warnings": []}}


def test_open_places_are_marked_and_said():
    choice = {"modules": 2, "components": 1, "confidence": 0.95, "in": [], "open": []}
    settled = Ranking(
        RANKING | {"verdict": "ranked", "decided": choice, "left_out": {}} | NOT_DOUBTED
    )
    assert "the first 1, which hold the 2 modules to tune, are told from the rest at 95 %" in (
        settled.messages()
    )
    open_ = RANKING["components"][2]["address"]
    ranking = settled.data | {"decided": choice | {"open": [open_]}}
    assert any(
        f"0 are settled at 95 %; open between {open_}" in x for x in Ranking(ranking).messages()
    )
    lines = printed(ranking)
    assert max(map(len, lines)) <= 80
    marked = [line for line in lines if line.rstrip().endswith("?")]
    assert [line.split()[0] for line in marked] == [open_]
    assert any("?: place among those to be tuned is open" in line for line in lines)
    assert not any("?" in line for line in printed(RANKING))


def test_csv(tmp_path):
    write_csv(RANKING, tmp_path / "ranking.csv")
    rows = list(csv.DictReader((tmp_path / "ranking.csv").open()))
    assert [r["address"] for r in rows] == [c["address"] for c in RANKING["components"]]
    assert float(rows[0]["target"]) == pytest.approx(3e-4)
    assert float(rows[0]["target_low"]) == pytest.approx(2.9e-4)
    assert float(rows[3]["target_relative"]) == -0.125
    assert rows[2]["label"] == "helps"


def test_the_heat_map_frames_what_will_be_tuned(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(figures, "write_heatmap", lambda *given: drawn.append(given))
    choice = {"level": "sublayer", "modules": 4, "components": 1}
    for shown in (RANKING, RANKING | {"decided": choice}):
        write_heatmap(shown, BLOCKS, tmp_path / "heatmap.png")
    plain, framed = drawn
    assert plain[-1] == []
    assert framed[-1] == [(37, 2)]  # of the columns block, proj_mlp, proj_out
    assert framed[3] == f"{plain[3]}; framed: to be tuned"


def test_heatmap_cells_leave_what_was_not_swept_blank():
    cells, columns = heatmap_cells(RANKING, BLOCKS)
    assert columns == ["block", "proj_mlp", "proj_out"]
    assert cells.shape == (38, 3)
    np.testing.assert_array_equal(cells[37], [1.5, -0.125, 0.75])
    np.testing.assert_array_equal(cells[3], [0.5, np.nan, np.nan])
    assert np.isnan(np.delete(cells, [3, 37], axis=0)).all()
