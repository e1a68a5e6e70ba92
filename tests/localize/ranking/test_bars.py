import json

from PIL import Image

from ablate2tune.localize.ranking.bars import bars_data, write_bars


def row(address: str, rank: int, value: float) -> dict:
    """The best of each level has rank 1 in it."""
    target = {"value": value, "low": value - 1, "high": value + 2, "n": 8}
    level = "block" if address.count(".") == 1 else "sublayer"
    return {"address": address, "level": level, "mode": "skip", "label": "helps", "rank": rank} | {
        "target": target,
        "rank_in_level": 1,
    }


RANKING = {
    "figures": [{"name": "target", "title": "margin over the target foil"}],
    "figure": "target",
    "ranked_by": "impact",
    "confidence": 0.95,
    "trust": {"noise_floor": 0.5},
    "components": [row("blocks.1.attn", 2, 3.0), row("blocks.1", 1, 7.0)],
}


def test_bars_are_ranked_and_carry_their_intervals():
    bars = bars_data(RANKING)["bars"]
    assert [bar["address"] for bar in bars] == ["blocks.1", "blocks.1.attn"]
    assert (bars[0]["low"], bars[0]["value"], bars[0]["high"]) == (6.0, 7.0, 9.0)


def test_bars_to_be_tuned_are_framed():
    choice = {"level": "sublayer", "modules": 4, "components": 1}
    bars = bars_data(RANKING | {"decided": choice})["bars"]
    assert [bar["chosen"] for bar in bars] == [False, True]
    assert not any(bar["chosen"] for bar in bars_data(RANKING)["bars"])
    joint = [{"address": "blocks.1"}, {"address": "blocks.1.attn"}]
    by_set = RANKING | {"decided": choice | {"modules": 1}, "set": joint}
    assert [bar["chosen"] for bar in bars_data(by_set)["bars"]] == [True, False]


def test_the_picture_comes_with_the_json_that_drew_it(tmp_path):
    write_bars(RANKING, tmp_path)
    assert json.loads((tmp_path / "bars.json").read_text()) == bars_data(RANKING)
    assert min(Image.open(tmp_path / "bars.png").size) > 200
    write_bars(RANKING | {"components": [], "trust": {"noise_floor": None}}, tmp_path)
    assert json.loads((tmp_path / "bars.json").read_text())["bars"] == []
