"""Joint conditions. Arithmetic on a made-up model whose margins are written down; then on a tiny
real FLUX against plain forwards under `ablated`."""

import itertools
import json

import numpy as np
import pytest
from PIL import Image
from test_localize import CONFIG, SEED, SIGMAS, favour, plain_margins  # type: ignore

from ablate2tune.ablation import Ablation, ablated
from ablate2tune.errors import UserError
from ablate2tune.localize.findings.follow_up import FollowUp
from ablate2tune.localize.findings.joint.curves import cliff, cumulative_sets, find_curves
from ablate2tune.localize.findings.joint.interactions import find_pairs, interaction_cells
from ablate2tune.localize.findings.joint.neighbours import find_neighbours
from ablate2tune.localize.findings.joint.sufficient import choose, find_sufficient
from ablate2tune.localize.localize_config import JointConfig
from ablate2tune.localize.localizing import localize
from ablate2tune.localize.margins.caption_losses import Margins
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.probes.margin import MarginProbe
from ablate2tune.statistics.clusters import Clusters
from ablate2tune.statistics.resampling import Resampling

EXAMPLES = 32


class MadeUpSweep:
    """A sweep whose target margin is a formula of what is ablated; groups of two examples.

    Blocks b.0 (a, b, c) and b.1 (d, e). a and b stand in for each other, c and d work in series,
    e does nothing: margin = scale * (4 [a or b] + 2 [c and d] + 1).
    """

    class Part:
        def __init__(self, address: str):
            self.address, self.block = address, address[:3]

    def __init__(self, broken: str | None = None):
        self.parts = [self.Part(f"b.0.{x}") for x in "abc"] + [self.Part(f"b.1.{x}") for x in "de"]
        self.catalogue = self.probe = self
        self.figures = MarginProbe.figures
        self.config = CONFIG.model_copy(update={"mode": "zero"})
        self.groups = [f"{i // 2:02d}" for i in range(EXAMPLES)]
        self.scale = np.random.default_rng(0).uniform(0.5, 1.5, EXAMPLES)
        self.broken = broken
        self.asked: dict[Condition, set[str]] = {}
        self.followed_up = self

    def __len__(self):
        return EXAMPLES

    def __iter__(self):
        return iter(self.parts)

    def __getitem__(self, key):
        if isinstance(key, Condition):
            return self._margins(key)
        return next((p for p in self.parts if p.address == key), self.Part(key))

    def children(self, block):
        return [p for p in self.parts if p.block == block.address]

    def order(self):
        return sorted(set(self.groups), reverse=True)

    def of_groups(self, groups):
        return [i for i, group in enumerate(self.groups) if group in set(groups)]

    def follow_up(self, conditions, groups):
        for condition in conditions:
            self.asked.setdefault(condition, set()).update(groups)

    def margin(self, off: set[str]) -> float:
        on = set("abcde") - off
        return 4 * bool(on & {"a", "b"}) + 2 * ({"c", "d"} <= on) + 1

    def _margins(self, condition: Condition) -> dict[str, np.ndarray]:
        off = {address[-1] for address in condition.addresses}
        target = self.scale * self.margin(off)
        measured = np.isin(self.groups, list(self.asked[condition])) if off else np.ones(EXAMPLES)
        if self.broken in off:
            target = target * np.inf
        target = np.where(measured, target, np.nan)[:, None]
        return Margins(target, target / 2, -target)._asdict()


@pytest.fixture(autouse=True)
def fewer_groups(monkeypatch):
    monkeypatch.setattr("ablate2tune.localize.findings.follow_up.GROUPS", 14)


@pytest.fixture
def made_up() -> FollowUp:
    return follow_up_of(MadeUpSweep())


def follow_up_of(sweep: MadeUpSweep) -> FollowUp:
    return FollowUp(sweep, Clusters(sweep.groups, Resampling(0, 500, 0.95)))  # type: ignore[arg-type]


ALL = ["b.0.a", "b.0.b", "b.0.c", "b.1.d", "b.1.e"]


def mean_scale(follow_up: FollowUp) -> float:
    return follow_up.sweep.scale[follow_up.mask()].mean()  # type: ignore[attr-defined]


def test_steps_of_ten_per_cent():
    assert [len(s) for s in cumulative_sets(list("abcdefghijklmnopqrst"))] == list(range(0, 21, 2))
    assert [len(s) for s in cumulative_sets(list("abcd"))] == [0, 1, 2, 3, 4]  # .4 .8 1.2 1.6 2 ...
    assert cumulative_sets(list("ab"))[-1] == ("a", "b")


def test_curves_follow_the_formula(made_up):
    ranked = ["b.0.c", "b.1.d", "b.0.a", "b.0.b", "b.1.e"]
    data = find_curves(made_up, ranked, "sublayer").data
    scale = mean_scale(made_up)
    # Off in turn: e, b, a, d, c; and c, d, a, b, e.
    for name, expected in (("least", [7, 7, 7, 3, 1, 1]), ("most", [7, 5, 5, 5, 1, 1])):
        points = data["curves"][name]["points"]
        assert [point["fraction"] for point in points] == [0, 0.2, 0.4, 0.6, 0.8, 1]
        assert [p["target"]["value"] for p in points] == pytest.approx(scale * np.array(expected))
        assert [p["control"]["value"] for p in points] == pytest.approx(
            scale * np.array(expected) / 2
        )
        for point in points:
            assert point["target"]["low"] <= point["target"]["value"] <= point["target"]["high"]
            assert point["target"]["n"] == 28
    assert data["curves"]["least"]["cliff"] == (0.4, 0.6)
    assert data["curves"]["most"]["cliff"] == (0.6, 0.8)
    assert cliff([{"target": None, "fraction": 0}]) is None


def test_interactions_follow_the_formula(made_up):
    data = find_pairs(made_up, ALL, "sublayer").data
    scale = mean_scale(made_up)
    found = {tuple(x[-1] for x in row["pair"]): row for row in data["pairs"]}
    assert len(found) == 10
    for pair, row in found.items():
        # a, b: 4 together, 0 alone. c, d: 2 together, 2 + 2 alone. All others add up.
        expected = {("a", "b"): 4, ("c", "d"): -2}.get(pair, 0)
        assert row["interaction"]["value"] == pytest.approx(scale * expected, abs=1e-12)
        reading = {("a", "b"): "redundant", ("c", "d"): "overlapping"}.get(pair, "additive")
        assert row["reading"] == reading
    cells = interaction_cells(data)
    np.testing.assert_allclose(cells, cells.T)
    np.testing.assert_allclose(np.diag(cells), 100 * np.array([0, 0, 2, 2, 0]) / 7, atol=1e-9)
    assert cells[0, 1] == pytest.approx(100 * 4 / 7)


def test_greedy_choice_and_pruning_by_brute_force():
    """On random monotone games: what is left keeps the share, and no member can be spared."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        worth = {one: rng.uniform() for one in "abcdef"}
        bonus = {pair: rng.uniform() for pair in itertools.combinations("abcdef", 2)}

        def kept(chosen, worth=worth, bonus=bonus):
            value = sum(worth[x] for x in chosen)
            value += sum(v for pair, v in bonus.items() if set(pair) <= set(chosen))
            return value / (sum(worth.values()) + sum(bonus.values()))

        ranked = sorted(worth, key=worth.__getitem__, reverse=True)
        greedy, pruned = choose(ranked, kept, 0.5)
        assert greedy == ranked[: len(greedy)]
        assert kept(greedy) >= 0.5 > kept(greedy[:-1])
        assert kept(pruned) >= 0.5
        assert all(kept([x for x in pruned if x != one]) < 0.5 for one in pruned)


def test_sufficient_set_is_judged_on_groups_that_did_not_choose_it(made_up):
    data = find_sufficient(made_up, ALL, "sublayer", 0.9).data
    # Of the sets that keep 0.9 of 7, none is smaller than {a or b, c, d}.
    assert set(data["set"]) in ({"b.0.a", "b.0.c", "b.1.d"}, {"b.0.b", "b.0.c", "b.1.d"})
    assert data["judging"]["share"]["value"] == pytest.approx(1)
    assert data["judging"]["share_of_none"]["value"] == pytest.approx(1 / 7)
    choosing, judging = data["choosing"]["groups"], data["judging"]["groups"]
    assert not set(choosing) & set(judging)
    assert len(choosing) == len(judging) == 7
    asked = made_up.sweep.asked
    final = Condition(tuple(a for a in ALL if a not in data["set"]), "zero")
    for condition, groups in asked.items():
        if condition.addresses and condition != final and len(condition.addresses) < len(ALL):
            assert not groups & set(judging)  # what chose never saw the judging half
    assert set(judging) <= asked[final]
    # Half of 7 is kept by one of the redundant two alone (5 of 7).
    assert len(find_sufficient(made_up, ALL, "sublayer", 0.5).data["set"]) == 1


def test_neighbours_follow_the_formula(made_up):
    data = find_neighbours(made_up, ["b.0.b", "b.1.d", "b.0.a", "b.0.c", "b.1.e"], 2).data
    scale = mean_scale(made_up)
    found = {
        (case["component"][-1], "".join(x[-1] for x in case["neighbours"])): case
        for case in data["cases"]
    }
    assert set(found) == {("b", "a"), ("b", "c"), ("b", "ac"), ("d", "e")}
    changes = {("b", "a"): 4, ("b", "c"): 2, ("b", "ac"): 6, ("d", "e"): 0}
    beyond = {("b", "a"): 4, ("b", "c"): 0, ("b", "ac"): 4, ("d", "e"): 0}
    for case, change in changes.items():
        assert found[case]["change"]["value"] == pytest.approx(scale * change)
        assert found[case]["interaction"]["value"] == pytest.approx(scale * beyond[case], abs=1e-12)
        assert found[case]["changes"] == (change > 0)


def test_losses_that_are_not_finite_are_told_and_drawn(tmp_path):
    follow_up = follow_up_of(MadeUpSweep(broken="d"))
    findings = [
        find_curves(follow_up, ALL, "sublayer"),
        find_pairs(follow_up, ALL, "sublayer"),
        find_sufficient(follow_up, ALL, "sublayer", 0.5),
        find_neighbours(follow_up, ALL, 2),
    ]
    for finding in findings:
        finding.write(tmp_path)
        text = (tmp_path / f"{finding.name}.json").read_text()
        assert "NaN" not in text
        assert "Infinity" not in text
        assert min(Image.open(tmp_path / f"{finding.name}.png").size) > 200
    readings = {tuple(r["pair"]): r["reading"] for r in findings[1].data["pairs"]}
    assert readings["b.0.a", "b.1.d"] == "not finite"
    assert readings["b.0.a", "b.0.b"] == "redundant"
    assert "not finite" in findings[0].message
    assert "b.1.d" in findings[2].data["set"]  # it can never be ablated


def test_bad_input(made_up):
    with pytest.raises(UserError, match="a curve needs at least 2"):
        find_curves(made_up, ALL[:1], "sublayer")
    with pytest.raises(UserError, match="interactions need at least 2"):
        find_pairs(made_up, ALL[:1], "sublayer")
    with pytest.raises(UserError, match="no sublayers were ranked"):
        find_neighbours(made_up, [], 1)
    made_up.sweep.scale -= 9
    with pytest.raises(UserError, match="no target margin on the choosing half"):
        find_sufficient(made_up, ALL, "sublayer", 0.5)
    with pytest.raises(ValueError, match="at least 2 components"):
        JointConfig(pairs=1)


JOINT = JointConfig(curves=True, pairs=3, sufficient=0.7, neighbours=1)


def test_on_a_real_model_against_plain_forwards(tiny_flux, make_contrasts, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate2tune.localize.findings.follow_up.GROUPS", 4)
    records = favour(tiny_flux, make_contrasts(8))
    config = CONFIG.model_copy(update={"groups": 8, "mode": "zero", "joint": JOINT})
    plain = config.model_copy(update={"joint": JointConfig()})
    folder = tmp_path / "joint"
    ranking = localize(tiny_flux, records, config, SEED, folder)
    alone = localize(tiny_flux, records, plain, SEED, tmp_path / "alone")
    assert ranking.data == alone.data  # what follows never changes the ranking
    assert sum(n.startswith(("curves", "interac", "suff", "neigh")) for n in ranking.notes) == 4

    rows = [json.loads(line) for line in (folder / "follow-up.jsonl").read_text().splitlines()]
    joint = [row for row in rows if len(row["condition"]) > 1]
    names = sorted({row["example"] for row in joint})
    assert len({row["group"] for row in joint}) == 4
    used = [record for record in records if record.id in names]
    data = json.loads((folder / "interactions.json").read_text())
    row = data["pairs"][0]
    foils = [record.texts["target"] for record in used]

    def margin(*addresses: str) -> np.ndarray:
        with ablated(tiny_flux.model, [Ablation(address, "zero") for address in addresses]):
            return plain_margins(tiny_flux, used, foils)

    base = plain_margins(tiny_flux, used, foils)
    a, b = row["pair"]
    expected = (base - margin(a, b)) - (base - margin(a)) - (base - margin(b))
    assert row["interaction"]["value"] == pytest.approx(expected.mean(), abs=1e-7)
    assert np.abs(expected).max() > 1e-6
    points = json.loads((folder / "curves.json").read_text())["curves"]["most"]["points"]
    ranked = [r["address"] for r in ranking.data["components"] if r["level"] == "sublayer"]
    assert points[0]["target"]["value"] == pytest.approx(base.mean(), abs=1e-7)
    assert points[2]["ablated"] == 2
    assert points[2]["target"]["value"] == pytest.approx(margin(*ranked[:2]).mean(), abs=1e-7)
    assert len(SIGMAS) == 2

    # Killed in the middle of it, it goes on and ends alike.
    path = folder / "follow-up.jsonl"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    again = localize(tiny_flux, records, config, SEED, folder)
    assert again.data == ranking.data
    assert json.loads((folder / "interactions.json").read_text()) == data
