"""The notebook docs/any-model.ipynb runs from top to bottom."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_cell_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    monkeypatch.chdir(ROOT)
    page = json.loads((ROOT / "docs" / "any-model.ipynb").read_text())
    names: dict = {}
    for cell in page["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    assert len(names["layers"].rows) == 3
    assert len(names["heads"].rows) == 12
    assert capsys.readouterr().out.count("(baseline)") == 3
