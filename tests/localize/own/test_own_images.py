"""The model's own pictures as margin examples: sampled, verified, ranked, compared."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pixel_judge import PixelJudge  # type: ignore[import-not-found]
from scipy import stats
from test_localize import SEED, SIGMAS, favour, plain_margins  # type: ignore[import-not-found]

from ablate2tune import files
from ablate2tune.compare.judges.judging import Judging
from ablate2tune.compare.relation_reading import Detection
from ablate2tune.errors import UserError
from ablate2tune.localize.generate.drawn_examples import prompt_of, scene_examples
from ablate2tune.localize.localize_config import LocalizeConfig, OwnImagesConfig
from ablate2tune.localize.margins.encoded_examples import split_groups
from ablate2tune.localize.measuring.processes import Processes
from ablate2tune.localize.measuring.sweep_identity import model_hash
from ablate2tune.localize.own.agreement import Impacts, correlation, read_impacts
from ablate2tune.localize.own.own_pictures import MISSING, MORE, PURPOSE, WRONG, draw_own, why_not
from ablate2tune.localize.own.ranking_on_own import localize_on_own
from ablate2tune.models import load_denoiser
from ablate2tune.scenes.vocabulary import OPPOSITE
from ablate2tune.statistics.resampling import Resampling

CONFIG = LocalizeConfig(
    images="both",
    own=OwnImagesConfig(seeds=3, steps=2, batch_size=7),
    groups=6,
    calibration_groups=3,
    sigmas=SIGMAS,
    top_blocks=2,
    batch_size=18,
    bootstrap=200,
    racing=False,
    noise_floor=False,
)


@pytest.fixture(scope="module", autouse=True)
def fewer_groups_needed():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ablate2tune.localize.own.ranking_on_own.MIN_GROUPS", 4)
        yield


# Subject and object of each relation: left and top of a 10 px box, and depth in metres.
PLACES = {
    "left of": ((5, 20, 5), (40, 20, 5)), "right of": ((40, 20, 5), (5, 20, 5)),
    "behind": ((20, 10, 7), (20, 20, 5)), "in front of": ((20, 20, 5), (20, 10, 7)),
    "on top of": ((20, 10, 5), (20, 20, 5)), "underneath": ((20, 20, 5), (20, 10, 5)),
}  # fmt: skip


def found(label: str, left: float, top: float = 20, depth: float = 5) -> Detection:
    mask = np.zeros((64, 64), bool)
    return Detection(label, (left, top, left + 10, top + 10), mask, depth, 0.9)


class Witness:
    """A judge that saw the pictures being made: it accepts those that the model has a margin on.

    So the model has a skill on the verified pictures by construction, and the rejected ones show
    the opposite relation.
    """

    def __init__(self, denoiser, records, folder: Path):
        self.labels = PixelJudge().labels
        self.denoiser, self.folder = denoiser, folder
        self.attempts = {
            scene_examples([record], [repeat], SEED, PURPOSE)[0].image_seed: (record, repeat)
            for record in records
            for repeat in range(CONFIG.own.seeds)
        }
        self.seen: dict[bytes, tuple] = {}
        self.drawn: list[tuple[str, int]] = []
        self._sample, denoiser.sample = denoiser.sample, self.sample

    def sample(self, prompts, seeds, *rest, **named):
        images = self._sample(prompts, seeds, *rest, **named)
        for text, seed, image in zip(prompts, seeds, images, strict=True):
            record, repeat = self.seen[image.tobytes()] = self.attempts[seed]
            assert text == record.text
            self.drawn.append((record.id, repeat))
        return images

    def describe(self):
        return {"kind": "witness"}

    def detect(self, images, batch_size=64):
        return [self._detect(image) for image in images]

    def _detect(self, image) -> list[Detection]:
        record, repeat = self.seen[image.tobytes()]
        name = f"{record.id}-own-{repeat}"
        Image.fromarray(image).save(self.folder / f"{name}.png")
        own = dataclasses.replace(record, id=name, payload=self.folder / f"{name}.png")
        right = plain_margins(self.denoiser, [own], [own.texts["target"]])[0] > 0
        prompt = prompt_of(record)
        relation = prompt.relation if right else OPPOSITE[prompt.relation]
        things = zip((prompt.subject_label, prompt.object_label), PLACES[relation], strict=True)
        return [found(label, *place) for label, place in things]


@pytest.fixture(scope="module")
def both(tiny_flux_config, make_contrasts, tmp_path_factory):
    denoiser = load_denoiser(tiny_flux_config)
    records = favour(denoiser, make_contrasts(9))
    witness = Witness(denoiser, records, tmp_path_factory.mktemp("witness"))
    folder = tmp_path_factory.mktemp("both")
    judging = Judging(witness, None)
    sources = localize_on_own(denoiser, records, CONFIG, SEED, folder, judging)
    return denoiser, records, judging, folder, sources


def verdicts(folder: Path) -> list[dict]:
    (path,) = folder.glob("own-images/*/verdicts.jsonl")
    return files.read_jsonl(path)


def test_counts_pictures_and_seeds(both):
    _, records, judging, folder, sources = both
    rows = verdicts(folder)
    counts = files.read_json(folder / "own-images.json")
    kept = {row["scene"]: row["repeat"] for row in rows if row["reason"] is None}
    assert 0 < len(kept) == counts["kept"] < len(rows) == counts["drawn"]
    assert counts["rejected"] == {WRONG: len(rows) - len(kept)}
    assert len(list(folder.glob("own-images/*/*.png"))) == len(rows)
    # One after the other until one is kept, three at most.
    for record in records:
        repeats = [row["repeat"] for row in rows if row["scene"] == record.id]
        assert repeats == list(range(1 + kept.get(record.id, 2)))
    assert judging.judge.drawn == [(row["scene"], row["repeat"]) for row in rows]
    assert len({row["seed"] for row in rows}) == len(rows)
    assert any(f"{len(kept)} of {len(rows)} kept" in line for line in sources.primary.messages())


def test_own_margins_are_those_of_the_verified_pictures(both):
    denoiser, records, _, folder, sources = both
    split = split_groups(records, 6, 3, SEED)
    rows = [r for r in files.read_jsonl(folder / "own" / "results.jsonl") if not r["condition"]]
    assert sources.own.data["verdict"] == "ranked"
    kept = {row["scene"]: row for row in verdicts(folder) if row["reason"] is None}
    pictures = next(folder.glob("own-images/*/"))
    expected = {
        f"{r.id}-own-{kept[r.id]['repeat']}": dataclasses.replace(
            r,
            id=f"{r.id}-own-{kept[r.id]['repeat']}",
            payload=pictures / kept[r.id]["image"],
        )
        for r in split.measured
        if r.id in kept
    }
    assert {row["example"] for row in rows} == set(expected)
    assert {row["group"] for row in rows} <= {r.cluster for r in split.measured}
    own = [expected[row["example"]] for row in rows]
    margins = plain_margins(denoiser, own, [record.texts["target"] for record in own])
    assert margins.min() > 0
    np.testing.assert_allclose([row["target"] for row in rows], margins, atol=1e-6)


def test_agreement_is_spearman_of_the_two_rankings(both):
    _, _, _, folder, sources = both
    data = json.loads((folder / "agreement.json").read_text())
    assert min(Image.open(folder / "agreement.png").size) > 300
    rankings = [sources.primary.data, sources.own.data]
    for level in ("block", "sublayer"):
        values = [
            {row["address"]: row["target"]["value"] for row in d["components"]
             if row["level"] == level} for d in rankings
        ]  # fmt: skip
        shared = [address for address in values[0] if address in values[1]]
        if not shared:  # the best blocks of the two may differ
            assert level not in data["levels"]
            continue
        assert [part["address"] for part in data["levels"][level]["components"]] == shared
        known = data["levels"][level]["spearman"]
        if len(shared) < 3:
            assert known is None
            continue
        expected = stats.spearmanr(*([found[a] for a in shared] for found in values)).statistic
        assert known["value"] == pytest.approx(expected)
        assert -1 <= known["low"] <= known["high"] <= 1
    assert data["levels"]["block"]["spearman"]["n"] == 4
    assert any("agree by Spearman: blocks" in line for line in sources.primary.messages())


def test_pictures_and_rows_are_used_again(both, monkeypatch):
    denoiser, records, judging, folder, sources = both
    before = {path: path.stat().st_mtime_ns for path in folder.glob("own-images/*/*.png")}
    rows = verdicts(folder)

    def never(*_, **__):
        raise AssertionError("sampled again")

    monkeypatch.setattr(denoiser, "sample", never)
    again = localize_on_own(denoiser, records, CONFIG, SEED, folder, judging)
    after = {path: path.stat().st_mtime_ns for path in folder.glob("own-images/*/*.png")}
    assert after == before
    assert verdicts(folder) == rows
    assert again.own.data == sources.own.data
    assert again.primary.data == sources.primary.data


def test_a_killed_drawing_goes_on(both, tmp_path):
    denoiser, records, judging, folder, _ = both
    whole = next(folder.glob("own-images/*/"))
    everything = [r for part in (split_groups(records, 6, 3, SEED),)
                  for r in (*part.measured, *part.calibration)]  # fmt: skip
    begun = tmp_path / whole.name
    begun.mkdir()
    lines = (whole / "verdicts.jsonl").read_text().splitlines(keepends=True)
    (begun / "verdicts.jsonl").write_text("".join(lines[:5]) + lines[5][:20])
    args = (CONFIG.own, SEED, tmp_path, model_hash(denoiser), judging, Processes(denoiser))
    own = draw_own(denoiser, everything, *args)
    assert (begun / "verdicts.jsonl").read_text() == "".join(lines)
    for picture in whole.glob("*.png"):
        assert (begun / picture.name).read_bytes() == picture.read_bytes()
    assert own.drawn == len(lines)


def test_too_few_verified_pictures(both, tmp_path, monkeypatch):
    monkeypatch.setattr("ablate2tune.localize.own.ranking_on_own.MIN_GROUPS", 7)
    denoiser, records, judging, _, _ = both
    strict = CONFIG.model_copy(update={"top_blocks": 1})
    message = r"of 6 groups have a picture of the model's own .* 7 are needed"
    own = strict.model_copy(update={"images": "own"})
    with pytest.raises(UserError, match=message):
        localize_on_own(denoiser, records, own, SEED, tmp_path / "own", judging)
    sources = localize_on_own(denoiser, records, strict, SEED, tmp_path / "both", judging)
    assert sources.own is None
    assert any("only rendered are ranked" in line for line in sources.primary.messages())
    assert not (tmp_path / "both" / "agreement.json").exists()


def test_why_a_picture_is_not_kept(make_contrasts):
    record = next(r for r in make_contrasts(6) if r.facts["relation"] == "left of")
    prompt = prompt_of(record)
    subject, object_ = found(prompt.subject_label, 5), found(prompt.object_label, 40)
    assert why_not(prompt, [subject, object_]) is None
    assert why_not(prompt, [subject]) == MISSING
    assert (
        why_not(prompt, [found(prompt.subject_label, 40), found(prompt.object_label, 5)]) == WRONG
    )
    assert why_not(prompt, [subject, object_, found(prompt.subject_label, 55)]) == MORE


def impacts(values: np.ndarray) -> Impacts:
    """One example per group: (components, groups)."""
    return Impacts([str(i) for i in range(values.shape[1])], values, np.ones(values.shape))


def test_correlation_against_scipy_in_every_resample():
    rng = np.random.default_rng(3)
    truth = np.arange(6)[:, None]
    first, second = (truth + 4 * rng.normal(size=(6, 20)) for _ in range(2))
    interval = correlation(impacts(first), impacts(second), Resampling(5, 400, 0.9))
    assert interval is not None
    expected = stats.spearmanr(first.mean(1), second.mean(1)).statistic
    assert interval["value"] == pytest.approx(expected)
    assert interval["n"] == 6
    # The same resampling, written as a loop over drawn groups.
    loop = []
    for _ in range(4000):
        drawn = rng.integers(0, 20, 20)
        loop.append(stats.spearmanr(first[:, drawn].mean(1), second[:, drawn].mean(1)).statistic)
    low, high = np.quantile(loop, [0.05, 0.95])
    assert interval["low"] == pytest.approx(low, abs=0.1)
    assert interval["high"] == pytest.approx(high, abs=0.1)


def test_correlation_of_the_same_and_of_too_few():
    values = np.random.default_rng(0).normal(size=(5, 8)) * 0.01 + np.arange(5)[:, None]
    same = correlation(impacts(values), impacts(values), Resampling(0, 50, 0.95))
    assert same == pytest.approx({"value": 1, "low": 1, "high": 1, "n": 5})
    turned = correlation(impacts(values), impacts(-values), Resampling(0, 50, 0.95))
    assert turned is not None
    assert turned["value"] == pytest.approx(-1)
    assert correlation(impacts(values[:2]), impacts(values[:2]), Resampling(0, 50, 0.95)) is None
    unmeasured = impacts(values)
    unmeasured.counts[2] = 0
    assert correlation(impacts(values), unmeasured, Resampling(0, 50, 0.95)) is None


def test_impacts_are_read_from_the_rows(tmp_path):
    rows = [
        {"condition": condition, "example": f"{group}{twin}", "group": group, "target": value}
        for condition, values in (
            ([], (5.0, 7.0, 1.0)), (["a"], (1.0, 2.0, 1.5)), (["b"], (4.0, None, 1.0)),
            (["a", "b"], (0.0, 0.0, 0.0)),
        )
        for (group, twin), value in zip((("g", 0), ("g", 1), ("h", 0)), values, strict=True)
    ]  # fmt: skip
    files.write_jsonl(tmp_path / "results.jsonl", rows)
    read = read_impacts(tmp_path, ["a", "b"], ["f", "g", "h"])
    np.testing.assert_allclose(read.sums, [[0, 4 + 5, -0.5], [0, 1, 0]])
    np.testing.assert_allclose(read.counts, [[0, 2, 1], [0, 1, 1]])
