import pytest

from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.purse import Purse, purse
from ablate2tune.localize.measuring.racing import BUDGET


def never() -> float:
    raise AssertionError("nobody asked for a time")


def filled(coming: int = 19, baseline: float = 100, gradients: bool = False, pace=never, **keys):
    config = LocalizeConfig.model_validate(keys)
    return purse(config, coming, baseline, gradients, pace)


def test_a_share_of_the_exhaustive_sweep_less_what_is_spent():
    money, notes = filled(budget=0.5)
    assert (money.left, money.coming, notes) == (0.5 * 20 * 100 - 100, 19, [])
    assert filled()[0].left == pytest.approx(BUDGET * 2000 - 100)
    assert filled(gradients=True)[0].left == pytest.approx(max(0, BUDGET * 2000 - 300))
    assert filled(budget=0.01)[0].left == 0


def test_minutes_are_a_count_at_the_baseline_s_pace():
    money, notes = filled(minutes=0.5, pace=lambda: 20.0)
    assert money.left == 30 * 20 - 100
    assert notes == ["0.5 minutes pay for 600 at 20 a second, the baseline's pace (pace.json)"]
    assert filled(minutes=99, pace=lambda: 20.0)[0].left == 2000 - 100  # no more than there is
    assert filled(minutes=99, budget=0.5, pace=lambda: 20.0)[0].left == 1000 - 100


def test_what_one_level_saves_is_for_the_others():
    money = Purse(100, 10)
    assert money.part(4) == 40
    money.pay(10, 4)
    assert money.part(6) == 90
    money.pay(95, 6)
    assert money.part(1) == 0


def test_minutes_need_a_race_to_end():
    with pytest.raises(ValueError, match="minutes end a race"):
        LocalizeConfig.model_validate({"minutes": 3, "racing": False})
    with pytest.raises(ValueError, match="does not serve minutes"):
        LocalizeConfig.model_validate({"minutes": 3, "probe": "generate"})
