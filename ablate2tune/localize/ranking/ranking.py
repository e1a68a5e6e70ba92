"""From rows to a ranking: impacts with intervals, corrected p-values, labels, order.

An impact is what is lost: the baseline's figure minus the ablated one's, paired per example, or the
reverse where lower is better. Impacts are also given relative to the baseline's own figures;
specificity is the difference of target and control.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ablate2tune.components import Component
from ablate2tune.localize.localize_config import LocalizeConfig
from ablate2tune.localize.measuring.condition import BASELINE, Condition
from ablate2tune.localize.measuring.results import Results, Values
from ablate2tune.localize.probes.figure import Figure, of_role
from ablate2tune.localize.ranking.row import Row
from ablate2tune.statistics.clusters import Clusters, Estimate, Interval, within_a_rate
from ablate2tune.statistics.regression_estimate import Carried, carried_over
from ablate2tune.statistics.resampling import Resampling, corrected

SEEDS = "localize-"
"""What the purposes of the statistics' seeds begin with."""


def draws(config: LocalizeConfig, seed: int) -> Resampling:
    """Resampling of the ranking and of all that stands beside it."""
    return Resampling(seed, config.bootstrap, config.confidence, SEEDS)


class Analysis:
    """Figures of conditions against the baseline of one sweep."""

    def __init__(
        self,
        results: Results,
        groups: Sequence[str],
        figures: Sequence[Figure],
        config: LocalizeConfig,
        seed: int,
        screened: Results | None = None,
        shows_values: bool = False,
    ):
        """Summarise the baseline.

        Args:
            results: holds the baseline and the conditions.
            groups: the contrast group of each measured example.
            figures: what was measured of them.
            config: resamples, confidence and what to rank by.
            seed: of the resampling.
            screened: first-order estimates of the conditions, where they were made.
            shows_values: whether rows hold the figures themselves as well.
        """
        self._shows_values = shows_values
        self._results, self._config, self._screened = results, config, screened
        self.groups = Clusters(groups, draws(config, seed))
        self._figures = {figure.name: figure for figure in figures}
        self._of_set = results.of_set(BASELINE) or {}
        whole = results[BASELINE]
        self.base = {f.name: whole[f.name].mean(1) for f in figures if not f.of_set}
        self.baseline = self.values(BASELINE)

    @property
    def confidence(self) -> float:
        """Mass of the intervals."""
        return self._config.confidence

    @property
    def figure(self) -> Figure:
        """What components are ranked by: of the figures that may rank, the first with a skill."""
        may_rank = [f for f in self._figures.values() if f.ranks and f.name in self.baseline]
        return next((f for f in may_rank if self._has(f)), may_rank[0])

    @property
    def tested(self) -> str:
        """The figure of each example whose differences are tested for it."""
        return self.figure.tested_by or self.figure.name

    @property
    def has_skill(self) -> bool:
        """Whether the baseline has something to lose of what ranks."""
        return self._has(self.figure)

    def _has(self, figure: Figure) -> bool:
        return figure.of_set or self.baseline[figure.name]["low"] > 0

    @property
    def has_control(self) -> bool:
        """Whether the baseline's control lies above zero."""
        control = of_role(self._figures.values(), "control")
        return control is not None and self._has(control)

    @property
    def ranked_by(self) -> str:
        """The recipe's `rank_by`, or "impact" where specificity is not defined."""
        undefined = self._config.rank_by == "specificity" and not self._is_specific
        return "impact" if undefined else self._config.rank_by

    def is_finite(self, condition: Condition) -> bool:
        """Whether all that was measured under a condition is finite."""
        measured, found = self._results.measured(condition), self._results[condition]
        for name, base in self.base.items():
            figure = self._figures[name]
            counted = measured if figure.everywhere else measured & np.isfinite(base)
            if not figure.partial and not np.isfinite(found[name][counted]).all():
                return False
        return True

    def values(self, condition: Condition) -> dict[str, Interval]:
        """The figures themselves under a condition, of those that some example has."""
        found: dict[str, Interval] = {}
        for name, figure in self._figures.items():
            if figure.of_set:
                of_set = self._results.of_set(condition) or {}
                found |= {name: _of_set(of_set[name], self.groups.n)} if name in of_set else {}
                continue
            values = self._results[condition][name].mean(1)
            defined = np.isfinite(values)
            if defined.all() and not figure.rate:
                found[name] = self.groups.mean(values)
            elif defined.any():
                found[name] = self._mean(values, defined, figure.rate)
        return found

    def _mean(self, values: np.ndarray, defined: np.ndarray, rate: bool) -> Interval:
        interval = self.groups.interval(self.groups.estimated_mean(values, defined))
        if rate and interval["value"] in (0.0, 1.0):
            clusters = int((self.groups.sums(defined.astype(float)) > 0).sum())
            low, high = self.groups.how.exact_rate(interval["value"], clusters)
            return {**interval, "low": low, "high": high}
        return within_a_rate(interval) if rate else interval

    def baseline_dict(self) -> dict[str, Any]:
        """The baseline as in `ranking.json`, with its figures at each noise level, if any."""
        found, sigmas = self._results[BASELINE], self._results.parts
        if not sigmas:
            return dict(self.baseline)
        by_sigma = [
            {
                "sigma": sigma,
                **{name: self.groups.mean(found[name][:, level]) for name in self.base},
            }
            for level, sigma in enumerate(sigmas)
        ]
        return {**self.baseline, "by_sigma": by_sigma}

    def rows(
        self,
        measured: Sequence[tuple[Component, Condition]],
        gains: Mapping[str, np.ndarray] | None = None,
    ) -> list[Row]:
        """Components of one level, best first; `over_levels` tells what is evidence.

        Args:
            measured: components with the conditions under which they were ablated.
            gains: what an adapter could gain, by address, (n,); nan where it was not judged.
        """
        p = self.groups.sign_flips([self._signed(condition) for _, condition in measured])
        rows = [
            replace(
                self._row(component, condition),
                gain=self._gain(component, gains or {}),
                p_uncorrected=own,
            )
            for (component, condition), own in zip(measured, p, strict=True)
        ]
        rows.sort(key=self._order)
        return [replace(row, rank_in_level=i) for i, row in enumerate(rows, start=1)]

    def over_levels(self, rows: Sequence[Row]) -> list[Row]:
        """Rows of all levels in one order, with p-values corrected over them, and labels."""
        correct = corrected([row.p_uncorrected for row in rows])
        rows = [
            replace(row, p=p, label=self._label(row, p))
            for row, p in zip(rows, correct, strict=True)
        ]
        ordered = sorted(rows, key=self._order)
        return [replace(row, rank=i) for i, row in enumerate(ordered, start=1)]

    def _order(self, row: Row) -> tuple[float, str]:
        by = {
            "impact": row.ranked["value"],
            "scout": row.ranked["value"],
            "specificity": row.specificity,
            "gradient": row.gain and row.gain["value"],
        }[self.ranked_by]
        return -(by or 0.0), row.component.address

    def _gain(self, component: Component, gains: Mapping[str, np.ndarray]) -> Interval | None:
        gain = gains.get(component.address)
        if gain is None:
            return None
        return self.groups.interval(self.groups.estimated_mean(gain, np.isfinite(gain)))

    def _row(self, component: Component, condition: Condition) -> Row:
        estimates = self._estimates(condition)
        impacts = {name: self.groups.interval(found) for name, found in estimates.items()}
        impacts |= self._set_impacts(condition)
        impacts = {name: impacts[name] for name in self._figures if name in impacts}
        specificity = None
        if self._is_specific:
            specificity = self.groups.interval(self._specificity(estimates))
        return Row(
            component,
            condition.mode,
            self.figure.name,
            impacts,
            relative={name: self._fraction(name, lost) for name, lost in impacts.items()},
            specificity=specificity["value"] if specificity else None,
            specificity_interval=specificity,
            patched=self._patched(estimates) if condition.patches and self.has_skill else None,
            values=self.values(condition) if self._shows_values else None,
        )

    def _signed(self, condition: Condition) -> np.ndarray:
        """What each cluster adds to the impact that is tested."""
        impact = self.impacts(condition)[self.tested]
        known = self.known(self.tested, condition)
        if self._figures[self.tested].partial or not known.any():
            return self.groups.signed(impact)
        return self.groups.signed(impact, self.carried(self.tested, condition, known))

    def _fraction(self, name: str, lost: Interval) -> float | None:
        """An impact as a fraction of the baseline's figure."""
        base = self.baseline[name]
        if self._figures[name].role == "quality":
            return lost["value"] / abs(base["value"])
        return lost["value"] / base["value"] if self._has(self._figures[name]) else None

    def _set_impacts(self, condition: Condition) -> dict[str, Interval]:
        found = self._results.of_set(condition) or {}
        return {
            name: _of_set(self._sign(name) * (base - found[name]), self.groups.n)
            for name, base in self._of_set.items()
            if name in found
        }

    def _sign(self, name: str) -> int:
        return 1 if self._figures[name].higher_is_better else -1

    def _patched(self, estimates: Mapping[str, Estimate]) -> dict[str, Interval]:
        """What patching restores and breaks, as shares of the baseline's target margin."""
        names = {"recovered": "target", "corrupted": "quality"}
        shares = {share: self._relative(estimates[name]) for share, name in names.items()}
        return {share: self.groups.interval(estimate) for share, estimate in shares.items()}

    def _relative(self, estimate: Estimate, to: str = "target") -> Estimate:
        """A figure as a fraction of one of the baseline's margins, which is resampled as well."""
        whole, value = self.base[to], self.baseline[to]["value"]
        resampled = estimate.resampled / self.groups.resampled_means(whole, np.isfinite(whole))
        return estimate._replace(value=float(estimate.value / value), resampled=resampled)

    def impacts(self, condition: Condition) -> Values:
        """What each example loses, mean over noise levels: (n,) each; nan where not measured."""
        return self._impacts(self._results, condition)

    def impacts_by_sigma(self, condition: Condition) -> dict[str, list[Interval]]:
        """Target and control impact at each noise level, estimated as the ranking's are."""
        measured = self._results.measured(condition)
        base, ablated = self._results[Condition()], self._results[condition]
        found: dict[str, list[Interval]] = {}
        for name in (x for x in ("target", "control") if x in self.base):
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

    def first_order(self, condition: Condition) -> Values | None:
        """The same as the gradient predicts it; None where that was not estimated for all."""
        if self._screened is None or condition not in self._screened:
            return None
        return self._impacts(self._screened, condition)

    def _impacts(self, results: Results, condition: Condition) -> Values:
        found = results[condition]
        return {
            name: self._sign(name) * (base - found[name].mean(1))
            for name, base in self.base.items()
        }

    def _estimates(self, condition: Condition) -> dict[str, Estimate]:
        """Mean impacts over all examples, from those that were measured."""
        found = {}
        for name, impact in self.impacts(condition).items():
            if self._figures[name].partial:
                found |= self._difference(name, condition, self._results.measured(condition))
                continue
            known = self.known(name, condition)
            if known.any():
                carried = self.carried(name, condition, known)
                found[name] = self.groups.estimated_mean(impact, known, carried)
        return found

    def known(
        self, name: str, condition: Condition, counted: np.ndarray | None = None
    ) -> np.ndarray:
        """Which examples have an impact on a figure, bool (n,), of those that are counted."""
        known = self._results.measured(condition) & np.isfinite(self.base[name])
        return known if counted is None else known & counted

    def carried(self, name: str, condition: Condition, known: np.ndarray) -> Carried:
        """What gradients and the baseline predict of an impact."""
        cheap = self.first_order(condition)
        covariates = [*([cheap[name]] if cheap else []), self.base[name]]
        return carried_over(self.impacts(condition)[name], known, covariates)

    def _difference(
        self, name: str, condition: Condition, measured: np.ndarray
    ) -> dict[str, Estimate]:
        """Of a partial figure: the difference of two means, each over its own examples."""
        means, ablated = [], self._results[condition][name].mean(1)
        for values in (self.base[name], np.where(measured, ablated, np.nan)):
            defined = np.isfinite(values)
            if not defined.any():
                return {}
            means.append(self.groups.estimated_mean(values, defined))
        base, ablated = means
        sign, n = self._sign(name), min(base.n, ablated.n)
        lost, clusters = sign * (base.value - ablated.value), min(base.clusters, ablated.clusters)
        return {name: Estimate(lost, sign * (base.resampled - ablated.resampled), n, clusters)}

    @property
    def _is_specific(self) -> bool:
        """Whether specificity is defined: components are ranked by the target, and the control
        lies above zero."""
        return self.figure.role == "target" and self.has_skill and self.has_control

    def _specificity(self, found: Mapping[str, Estimate]) -> Estimate:
        """Relative target minus relative control impact; the baseline is resampled as well."""
        names = (self.figure.name, self.control.name)
        target, control = (self._relative(found[name], name) for name in names)
        resampled = np.asarray(target.resampled - control.resampled)
        return target._replace(value=target.value - control.value, resampled=resampled)

    @property
    def control(self) -> Figure:
        """The capability beside the target."""
        control = of_role(self._figures.values(), "control")
        assert control is not None, "without a control there is no specificity"
        return control

    def collapses(self, row: Row) -> list[Figure]:
        """Figures of which so much is lost that little else can be said."""
        return [
            figure
            for name, figure in self._figures.items()
            if name in row.impacts
            and figure.critical
            and figure.critical(self.baseline[name]["value"], row.impacts[name])
        ]

    def _label(self, row: Row, p: float) -> str:
        if self.collapses(row):
            return "critical for everything"
        if p >= 1 - self._config.confidence:
            return "neutral"
        return "helps" if row.ranked["value"] > 0 else "hurts"


def _of_set(value: float, n: int) -> Any:
    """A figure of a set, which has no interval."""
    return {"value": value, "low": None, "high": None, "n": n}
