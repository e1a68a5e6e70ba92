"""From rows to a ranking: impacts with intervals, corrected p-values, labels, order.

An impact is the baseline's figure minus the ablated one's, paired per image. The target and
control impacts are also given relative to the baseline's own margins; specificity is their
difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ablate2tune import runs
from ablate2tune.components import Component, lora_targets
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.margins.margin import Margins
from ablate2tune.localize.measuring.condition import Condition
from ablate2tune.localize.measuring.racing import Standing
from ablate2tune.localize.measuring.results import Results
from ablate2tune.statistics.clusters import Clusters, Estimate, Interval
from ablate2tune.statistics.regression_estimate import carried_over
from ablate2tune.statistics.resampling import Resampling, corrected

SCHEMA = "ablate2tune/ranking/2"
SEEDS = "localize-"
"""What the purposes of the statistics' seeds begin with."""
RANKED = "ranked"
NO_SKILL = "no skill to localize"
CRITICAL_LOSS = 2.0
"""A component without which the loss at least doubles is critical for everything."""


@dataclass(frozen=True)
class Row:
    """One component's impacts."""

    component: Component
    mode: str
    target: Interval
    control: Interval
    quality: Interval
    relative: dict[str, float | None]
    """Impacts as fractions of the baseline's margins, and of its loss for quality; None where the
    baseline's own margin cannot be told from zero."""
    specificity: float | None
    specificity_interval: Interval | None
    p_uncorrected: float
    patched: dict[str, Interval] | None = None
    """In mode patch, where the baseline has a margin: shares of it that are `recovered` in the
    foil's run and `corrupted` in the true caption's."""
    gain: float | None = None
    """First-order gain of an adapter per parameter, where it was measured."""
    p: float = 1.0
    label: str = "neutral"
    """helps, hurts, neutral (unused or redundant), or critical for everything."""
    rank: int = 0
    rank_in_level: int = 0

    def as_dict(self) -> dict[str, Any]:
        """As in `ranking.json`."""
        component = self.component
        return {
            "address": component.address,
            "level": component.level,
            "kind": component.kind,
            "mode": self.mode,
            "rank": self.rank,
            "rank_in_level": self.rank_in_level,
            "target": self.target,
            "control": self.control,
            "quality": self.quality,
            "relative": self.relative,
            "specificity": self.specificity,
            "specificity_interval": self.specificity_interval,
            "gain": self.gain,
            "p": self.p,
            "p_uncorrected": self.p_uncorrected,
            "label": self.label,
            "parameters": component.parameters,
            "lora_targets": lora_targets(component),
            **({"patched": self.patched} if self.patched else {}),
        }


def draws(config: LocalizeConfig, seed: int) -> Resampling:
    """Resampling of the ranking and of all that stands beside it."""
    return Resampling(seed, config.bootstrap, config.confidence, SEEDS)


class Analysis:
    """Figures of conditions against the baseline of one sweep."""

    def __init__(
        self,
        results: Results,
        groups: Sequence[str],
        config: LocalizeConfig,
        seed: int,
        screened: Results | None = None,
    ):
        """Summarise the baseline.

        Args:
            results: holds the baseline and the conditions.
            groups: the contrast group of each measured example.
            config: resamples, confidence and what to rank by.
            seed: of the resampling.
            screened: first-order estimates of the conditions, where they were made.
        """
        self._results, self._config, self._screened = results, config, screened
        self.groups = Clusters(groups, draws(config, seed))
        self._base = {name: values.mean(1) for name, values in results[Condition()].items()}
        self.baseline = {name: self.groups.mean(v) for name, v in self._base.items()}

    @property
    def confidence(self) -> float:
        """Mass of the intervals."""
        return self._config.confidence

    @property
    def has_skill(self) -> bool:
        """Whether the baseline's target margin lies above zero."""
        return self.baseline["target"]["low"] > 0

    @property
    def has_control(self) -> bool:
        """Whether the baseline's control margin lies above zero."""
        return self.baseline["control"]["low"] > 0

    @property
    def ranked_by(self) -> str:
        """The recipe's `rank_by`, or "impact" where specificity is not defined."""
        undefined = self._config.rank_by == "specificity" and not self.has_control
        return "impact" if undefined else self._config.rank_by

    def standing(self, condition: Condition) -> Standing:
        """What a condition is ranked by, with its interval."""
        if self.ranked_by == "specificity":
            figure = self.groups.interval(self._specificity(condition))
        else:
            figure = self.groups.interval(self._estimates(condition)["target"])
        return Standing(figure["value"], figure["low"], figure["high"])

    def is_finite(self, condition: Condition) -> bool:
        """Whether all measured losses under a condition were finite."""
        measured = self._results.measured(condition)
        return all(
            np.isfinite(values[measured]).all() for values in self._results[condition].values()
        )

    def baseline_dict(self) -> dict[str, Any]:
        """The baseline as in `ranking.json`, with its margins at each noise level."""
        margins = self._results[Condition()]
        return {
            **self.baseline,
            "by_sigma": [
                {
                    "sigma": sigma,
                    **{name: self.groups.mean(margins[name][:, level]) for name in Margins._fields},
                }
                for level, sigma in enumerate(self._config.sigmas)
            ],
        }

    def rows(
        self,
        measured: Sequence[tuple[Component, Condition]],
        gains: Mapping[str, float] | None = None,
    ) -> list[Row]:
        """Components of one level, best first, with p-values corrected over them and labels.

        Args:
            measured: components with the conditions under which they were ablated.
            gains: what an adapter could gain, by address, where that was measured.
        """
        rows = [
            replace(self._row(component, condition), gain=(gains or {}).get(component.address))
            for component, condition in measured
        ]
        rows = [
            replace(row, p=p, label=self._label(row, p))
            for row, p in zip(rows, corrected([row.p_uncorrected for row in rows]), strict=True)
        ]
        rows.sort(key=self._order)
        return [replace(row, rank_in_level=i) for i, row in enumerate(rows, start=1)]

    def over_levels(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of all levels in one order."""
        ordered = sorted(rows, key=self._order)
        return [replace(row, rank=i) for i, row in enumerate(ordered, start=1)]

    def _order(self, row: Row) -> tuple[float, str]:
        by = {
            "impact": row.target["value"],
            "specificity": row.specificity,
            "gradient": row.gain,
        }[self.ranked_by]
        return -(by or 0.0), row.component.address

    def _row(self, component: Component, condition: Condition) -> Row:
        estimates = self._estimates(condition)
        interval = {name: self.groups.interval(found) for name, found in estimates.items()}
        base = {name: figure["value"] for name, figure in self.baseline.items()}
        specificity = None
        if self.has_control and self.has_skill:
            specificity = self.groups.interval(self._specificity(condition))
        return Row(
            component,
            condition.mode,
            interval["target"],
            interval["control"],
            interval["quality"],
            relative={
                "target": interval["target"]["value"] / base["target"] if self.has_skill else None,
                "control": interval["control"]["value"] / base["control"]
                if self.has_control
                else None,
                "quality": interval["quality"]["value"] / -base["quality"],
            },
            specificity=specificity["value"] if specificity else None,
            specificity_interval=specificity,
            p_uncorrected=self.groups.sign_flip_p(self.impacts(condition).target),
            patched=self._patched(estimates) if condition.patches and self.has_skill else None,
        )

    def _patched(self, estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
        """What patching restores and breaks, as shares of the baseline's target margin."""
        names = {"recovered": "target", "corrupted": "quality"}
        shares = {share: self._relative(estimates[name]) for share, name in names.items()}
        return {share: self.groups.interval(estimate) for share, estimate in shares.items()}

    def _relative(self, estimate: Estimate, to: str = "target") -> Estimate:
        """A figure as a fraction of one of the baseline's margins, which is resampled as well."""
        whole = self._base[to]
        resampled = estimate.resampled / self.groups.resampled_means(whole)
        return Estimate(float(estimate.value / np.mean(whole)), resampled, estimate.n)

    def impacts(self, condition: Condition) -> Margins:
        """Baseline minus ablated, mean over noise levels: (n,) each; nan where not measured."""
        return self._impacts(self._results, condition)

    def impacts_by_sigma(self, condition: Condition) -> dict[str, list[Interval]]:
        """Spatial and control impact at each noise level, estimated as the ranking's are."""
        measured = self._results.measured(condition)
        base, ablated = self._results[Condition()], self._results[condition]
        found: dict[str, list[Interval]] = {}
        for name in ("target", "control"):
            whole, part = base[name], ablated[name]
            found[name] = [
                self.groups.interval(
                    self.groups.estimated_mean(
                        impact, measured, carried_over(impact, measured, [whole[:, level]])
                    )
                )
                for level, impact in enumerate((whole - part).T)
            ]
        return found

    def first_order(self, condition: Condition) -> Margins | None:
        """The same as the gradient predicts it; None where that was not estimated for all."""
        if self._screened is None or condition not in self._screened:
            return None
        return self._impacts(self._screened, condition)

    def _impacts(self, results: Results, condition: Condition) -> Margins:
        found = results[condition]
        return Margins(**{name: self._base[name] - found[name].mean(1) for name in self._base})

    def _estimates(self, condition: Condition) -> dict[str, Estimate]:
        """Mean impacts over all examples, from those that were measured."""
        measured = self._results.measured(condition)
        cheap = self.first_order(condition)
        found = {}
        for name, impact in self.impacts(condition)._asdict().items():
            covariates = [*([getattr(cheap, name)] if cheap else []), self._base[name]]
            carried = carried_over(impact, measured, covariates)
            found[name] = self.groups.estimated_mean(impact, measured, carried)
        return found

    def _specificity(self, condition: Condition) -> Estimate:
        """Relative target minus relative control impact; the baseline is resampled as well."""
        found = self._estimates(condition)
        target, control = (self._relative(found[name], name) for name in ("target", "control"))
        resampled = np.asarray(target.resampled - control.resampled)
        return Estimate(target.value - control.value, resampled, target.n)

    def _label(self, row: Row, p: float) -> str:
        baseline_loss = -self.baseline["quality"]["value"]
        if row.quality["low"] >= (CRITICAL_LOSS - 1) * baseline_loss:
            return "critical for everything"
        if p >= 1 - self._config.confidence:
            return "neutral"
        return "helps" if row.target["value"] > 0 else "hurts"


@dataclass(frozen=True)
class RankingFile:
    """A ranking, by whatever evidence: the contents of ranking.json."""

    data: dict[str, Any]
    """ranking.json."""

    @property
    def verdict(self) -> str:
        """ "ranked" or "no skill to localize"."""
        return self.data["verdict"]

    @property
    def has_skill(self) -> bool:
        """Whether there was a skill to localize."""
        return self.verdict == RANKED


@dataclass(frozen=True)
class Ranking(RankingFile):
    """What `localize` found by margins: the contents of its files."""

    information: dict[str, Any]
    """information.json."""
    notes: tuple[str, ...] = ()
    """What the follow-ups found, one line each."""

    def messages(self) -> list[str]:
        """What to tell the user beside the table, one line each."""
        lines = [self.information["message"]]
        if not self.has_skill:
            margin = self.data["baseline"]["target"]
            lines.append(
                f"no skill to localize: the model's target margin is {margin['value']:.2e} "
                f"[{margin['low']:.2e}, {margin['high']:.2e}] over {margin['n']} images, "
                "which is not above zero; nothing was ablated"
            )
        elif self.data["ranked_by"] != self.data["rank_by"]:
            lines.append(
                "the model's control margin cannot be told from zero, so specificity is not "
                "defined and components are ranked by their target impact"
            )
        for address, reason in self.data["left_out"].items():
            lines.append(f"left out: {address} ({reason})")
        lines += self.notes
        return lines + [f"warning: {line}" for line in self.data["trust"]["warnings"]]

    def write(self, folder: Path) -> None:
        """Write ranking.json."""
        runs.write_json(folder / "ranking.json", self.data)
