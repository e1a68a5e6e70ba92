"""The information check: does the conditioning tell a caption from its foil at all?

If a linear classifier cannot read the relation, or which object is the subject, from the prompt
embeddings, then nothing in the denoiser can be at fault, and the text encoder is where to look.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import optimize, special

from ablate2tune.contrasts.contrast import Contrast
from ablate2tune.contrasts.phrases import exchanged, stated, without_article
from ablate2tune.models import Denoiser
from ablate2tune.seeding import numpy_generator
from ablate2tune.statistics.clusters import Clusters, Interval
from ablate2tune.statistics.resampling import Resampling

CHANCE = 0.5
FOLDS = 5
ROLE = "subject or object"
"""The question who stands where."""
MIN_GROUPS = 4
"""Contrast groups that a readout needs at least."""
RIDGE = 1.0
"""Weight of |w|^2 / 2 beside the summed log loss, on standardised features."""
BATCH = 64
"""Prompts encoded and pooled at once."""


@dataclass(frozen=True)
class Readout:
    """One linear readout of the conditioning."""

    question: str
    """What it reads: "left of / right of", or "subject or object"."""
    features: str
    """Where it reads: "tokens" (mean over token embeddings), "pooled", or "phrase" (mean over the
    tokens of an object's noun phrase)."""
    accuracy: Interval | None
    """Cross-validated; None where there are too few groups to fit any."""
    decidable: bool
    """Whether there are enough groups that a readout which is always right is told from chance."""

    @property
    def above_chance(self) -> bool:
        """Whether the accuracy's interval lies above chance, as far as that can be told."""
        return self.decidable and self.accuracy is not None and self.accuracy["low"] > CHANCE


@dataclass(frozen=True)
class Information:
    """What the conditioning carries."""

    readouts: list[Readout]

    @property
    def missing(self) -> list[str]:
        """Questions that no readout answers above chance, though it could be told."""
        return self._unanswered(decidable=True)

    @property
    def undecided(self) -> list[str]:
        """Questions that have too few groups to tell any readout from chance."""
        return self._unanswered(decidable=False)

    def _unanswered(self, decidable: bool) -> list[str]:
        answered = {one.question for one in self.readouts if one.above_chance}
        asked = [one for one in self.readouts if one.decidable == decidable]
        return [q for q in dict.fromkeys(one.question for one in asked) if q not in answered]

    @property
    def _carried(self) -> bool | None:
        if self.missing or not self.readouts:
            return False if self.missing else None
        return None if self.undecided else True

    @property
    def message(self) -> str:
        """One line for people."""
        if all(one.accuracy is None for one in self.readouts):
            return (
                f"information check: needs at least {MIN_GROUPS} contrast groups per relation pair"
            )
        if self.missing:
            return (
                "information check: the prompt embeddings do not tell "
                f"{', '.join(self.missing)} apart (readout at chance); look at the text encoder, "
                "no adapter in the denoiser can mend this"
            )
        if self.undecided:
            return (
                "information check: too few contrast groups to tell whether the prompt embeddings "
                f"carry {', '.join(self.undecided)} (even a readout that is always right could be "
                "chance); raise localize.groups"
            )
        roles = any(one.question == ROLE for one in self.readouts)
        carried = (
            "carry the relation and who stands where"
            if roles
            else "tell the texts from their foils"
        )
        best = min(
            max(p.accuracy["value"] for p in self.readouts if p.question == q and p.accuracy)
            for q in {p.question for p in self.readouts if p.accuracy}
        )
        return (
            f"information check: the prompt embeddings {carried} "
            f"(the weaker readout is right in {best:.0%}, chance {CHANCE:.0%})"
        )

    def as_dict(self) -> dict[str, Any]:
        """As in `information.json`."""
        return {
            "schema": "ablate2tune/information/2",
            "chance": CHANCE,
            "carried": self._carried,
            "missing": self.missing,
            "undecided": self.undecided,
            "message": self.message,
            "readouts": [vars(one) | {"above_chance": one.above_chance} for one in self.readouts],
        }


def check_information(
    denoiser: Denoiser,
    contrasts: Sequence[Contrast],
    how: Resampling,
) -> Information:
    """Read the conditioning of contrast twins, with whole groups held out.

    Relation: which of a group's two relations the caption states, from the mean token embedding
    and from the pooled vector where the family has one. Role: whether an object's noun phrase is
    the caption's subject or its object, from the phrase's own tokens; each caption is asked
    together with the one in which the objects have exchanged roles, so the words alone tell
    nothing.
    """

    def readout(
        question: str, kind: str, x: np.ndarray, y: np.ndarray, groups: list[str]
    ) -> Readout:
        if len(set(groups)) < MIN_GROUPS:
            return Readout(question, kind, None, decidable=False)
        clusters = Clusters(groups, how)
        correct = cross_validate(x, y, groups, how.seed) == y
        return Readout(question, kind, clusters.accuracy(correct), decidable(clusters))

    readouts = []
    for axis, members in _axes(contrasts).items():
        texts, told, groups = (list(column) for column in zip(*members, strict=True))
        y = np.array([words == axis[0] for words in told])
        tokens = _features(denoiser, texts, lambda _, embeds: embeds.mean(0))
        readouts.append(readout(" / ".join(axis), "tokens", tokens, y, groups))
        pooled = _pooled(denoiser, texts)
        if pooled is not None:
            readouts.append(readout(" / ".join(axis), "pooled", pooled, y, groups))
    named = [c for c in contrasts if {"subject", "object"} <= c.spans.get("true", {}).keys()]
    if named:
        readouts.append(readout(ROLE, "phrase", *_roles(denoiser, named)))
    return Information(readouts)


def decidable(clusters: Clusters) -> bool:
    """Whether a readout that is always right would be told from chance with so few clusters.

    By the exact interval (`Resampling.exact_rate`): at 95 %, from 6 clusters on.
    """
    low, _ = clusters.how.exact_rate(1.0, clusters.count)
    return low > CHANCE


def cross_validate(x: np.ndarray, y: np.ndarray, groups: Sequence[str], seed: int) -> np.ndarray:
    """Predictions of a ridge logistic regression, each from a fit without its group's fold.

    Args:
        x: features, (n, channels).
        y: classes, bool (n,).
        groups: the group of each row; whole groups are held out.
        seed: of the folds.

    Returns:
        bool, (n,).
    """
    fold = group_folds(groups, seed)
    predicted = np.zeros(len(y), bool)
    for held_out in range(fold.max() + 1):
        test = fold == held_out
        mean, spread = x[~test].mean(0), x[~test].std(0)
        scaled = (x - mean) / np.where(spread > 1e-8 * (1 + np.abs(mean)), spread, np.inf)
        weights, bias = fit_logistic(scaled[~test], y[~test])
        predicted[test] = scaled[test] @ weights + bias > 0
    return predicted


def group_folds(groups: Sequence[str], seed: int) -> np.ndarray:
    """The fold of each row, from 0 on, (n,); the rows of a group share one."""
    names, index = np.unique(np.asarray(groups), return_inverse=True)
    order = numpy_generator(seed, "information-folds").permutation(len(names))
    return (order % min(FOLDS, len(names)))[index]


def fit_logistic(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """Ridge logistic regression by L-BFGS: weights (channels,) and bias.

    Minimises the summed log loss plus `RIDGE` * |w|^2 / 2. The weights lie in the span of the
    rows, so the problem is solved in coordinates of that span, at most n of them.
    """
    _, singular, basis = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    basis = basis[singular > 1e-10 * max(1.0, singular.max(initial=0.0))]
    reduced = x @ basis.T
    sign = np.where(y, 1.0, -1.0)

    def objective(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        weights, bias = parameters[:-1], parameters[-1]
        margins = sign * (reduced @ weights + bias)
        slope = -sign * special.expit(-margins)
        value = np.logaddexp(0, -margins).sum() + RIDGE / 2 * weights @ weights
        return value, np.append(reduced.T @ slope + RIDGE * weights, slope.sum())

    start = np.zeros(reduced.shape[1] + 1)
    solution = optimize.minimize(objective, start, jac=True, method="L-BFGS-B").x
    return solution[:-1] @ basis, float(solution[-1])


def _axes(contrasts: Sequence[Contrast]) -> dict[tuple[str, ...], list[tuple[str, str, str]]]:
    """Text, what it states and cluster, by the two things that the texts of a cluster state.

    These are the true texts; where they all state the same, the target foils as well.
    """
    clusters: dict[str, list[Contrast]] = {}
    for contrast in contrasts:
        clusters.setdefault(contrast.cluster, []).append(contrast)
    axes: dict[tuple[str, ...], list[tuple[str, str, str]]] = {}
    for cluster, members in clusters.items():
        texts = [(c.text, stated(c)[0], cluster) for c in members]
        if len({words for _, words, _ in texts}) == 1:
            foils = [(c.texts["target"], stated(c)[1], cluster) for c in members]
            texts = list(dict.fromkeys(texts + foils))
        axis = tuple(sorted({words for _, words, _ in texts}))
        if len(axis) == 2:
            axes.setdefault(axis, []).extend(texts)
    return dict(sorted(axes.items()))


def _roles(
    denoiser: Denoiser, contrasts: Sequence[Contrast]
) -> tuple[np.ndarray, np.ndarray, list[str]]:
    texts: list[str] = []
    spans: list[slice] = []
    is_subject: list[bool] = []
    groups: list[str] = []
    for contrast in contrasts:
        own = contrast.spans["true"]
        turned = exchanged(contrast.text, own, "subject", "object")
        for text, places in ((contrast.text, own), turned):
            for name in ("subject", "object"):
                texts.append(text)
                spans.append(denoiser.token_span(text, *without_article(text, places[name])))
                is_subject.append(name == "subject")
                groups.append(contrast.cluster)
    features = _features(denoiser, texts, lambda i, embeds: embeds[spans[i]].mean(0))
    return features, np.array(is_subject), groups


def _features(
    denoiser: Denoiser,
    texts: Sequence[str],
    reduce: Callable[[int, torch.Tensor], torch.Tensor],
) -> np.ndarray:
    rows = []
    for start in range(0, len(texts), BATCH):
        encoded = denoiser.encode_prompts(texts[start : start + BATCH])
        tokens = (encoded.tokens(row).float().cpu() for row in range(len(encoded)))
        rows += [reduce(start + i, embeds) for i, embeds in enumerate(tokens)]
    return torch.stack(rows).numpy()


def _pooled(denoiser: Denoiser, texts: Sequence[str]) -> np.ndarray | None:
    """The pooled embeddings, (texts, channels); None for a family without them."""
    starts = range(0, len(texts), BATCH)
    found = [denoiser.encode_prompts(texts[i : i + BATCH]).pooled for i in starts]
    rows = [pooled.float().cpu() for pooled in found if pooled is not None]
    return torch.cat(rows).numpy() if rows else None
