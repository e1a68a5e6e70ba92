import csv
import io

import numpy as np
import pytest
from rich.console import Console

from ablate2tune.localize.ranking.ranking_figures import heatmap_cells, table, write_csv

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
    assert body[0].split()[:4] == ["(baseline)", "2.0e-4", "4.0e-4", "0.032"]
    assert body[0].rstrip().endswith(" 95..105")  # (2e-4 -+ 1e-5) / 2e-4
    assert body[1].split()[:4] == ["single_transformer_blocks.37", "+150%", "+25%", "+10%"]
    assert body[1].rstrip().endswith("critical")
    assert body[3].split()[0] == "single_transformer_blocks.37.proj_out"
    assert "-12%" in body[4]
    assert "-18..-8" in body[4]  # (-2.5e-5 -+ 1e-5) / 2e-4 = -17.5 % and -7.5 %
    assert len(printed(RANKING, top=1)) == len(lines) - 2


def test_table_without_a_control_margin():
    components = [
        RANKING["components"][0] | {"relative": {"target": 1.0, "control": None, "quality": 0.0}}
    ]
    assert any("–" in line for line in printed(RANKING | {"components": components}))


def test_csv(tmp_path):
    write_csv(RANKING, tmp_path / "ranking.csv")
    rows = list(csv.DictReader((tmp_path / "ranking.csv").open()))
    assert [r["address"] for r in rows] == [c["address"] for c in RANKING["components"]]
    assert float(rows[0]["target"]) == pytest.approx(3e-4)
    assert float(rows[0]["target_low"]) == pytest.approx(2.9e-4)
    assert float(rows[3]["target_relative"]) == -0.125
    assert rows[2]["label"] == "helps"


def test_heatmap_cells_leave_what_was_not_swept_blank():
    cells, columns = heatmap_cells(RANKING, BLOCKS)
    assert columns == ["block", "proj_mlp", "proj_out"]
    assert cells.shape == (38, 3)
    np.testing.assert_array_equal(cells[37], [1.5, -0.125, 0.75])
    np.testing.assert_array_equal(cells[3], [0.5, np.nan, np.nan])
    assert np.isnan(np.delete(cells, [3, 37], axis=0)).all()
