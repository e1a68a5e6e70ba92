import numpy as np

from ablate2tune.compare.metrics import Outcomes, score
from ablate2tune.statistics.resampling import Resampling

HOW = Resampling(seed=0, bootstrap=4000, confidence=0.95)


def test_score_by_hand():
    # Four prompts of two relations, one image each, and two plain prompts.
    def column(*values):
        return np.array(values, bool)[:, None]

    relations = ["left of", "behind", "left of", "behind"]
    before = Outcomes(
        relations,
        spatial=column(1, 0, 0, 0),
        objects=column(1, 1, 0, 0),
        extra=column(0, 0, 1, 0),
        plain_objects=column(1, 1),
    )
    after = Outcomes(
        relations,
        spatial=column(1, 1, 1, 0),
        objects=column(1, 1, 1, 1),
        extra=column(1, 0, 0, 0),
        plain_objects=column(1, 0),
    )
    early, late, gap = score(before, after, HOW)
    assert (early.spatial.value, late.spatial.value, gap.spatial.value) == (0.25, 0.75, 0.5)
    assert (early.spatial_strict.value, late.spatial_strict.value) == (0.25, 0.5)
    assert early.relation_given_objects.value == 0.5 and early.relation_given_objects.n == 2
    assert late.relation_given_objects.value == 0.75 and late.relation_given_objects.n == 4
    assert gap.relation_given_objects.value == 0.25
    assert (early.objects.value, late.objects.value) == (0.5, 1.0)
    assert (early.extra.value, late.extra.value) == (0.25, 0.25)
    assert (early.forgetting.value, late.forgetting.value, gap.forgetting.value) == (1.0, 0.5, -0.5)
    assert {r: f.value for r, f in early.per_relation.items()} == {"behind": 0, "left of": 0.5}
    assert {r: f.value for r, f in late.per_relation.items()} == {"behind": 0.5, "left of": 1.0}
    assert gap.spatial.p == 0.5, "two gains, no loss: 2 / 2^2"
    assert set(gap.as_dict()["spatial"]) == {"value", "low", "high", "n", "p"}
    assert set(late.as_dict()["per_relation"]["behind"]) == {"value", "low", "high", "n"}
