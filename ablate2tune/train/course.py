"""How a training run went, by its log, and which of its weights are kept.

Losses of single steps are noisy, so training's is told as the mean over the first and the last
tenth. Validation is weighed as training meets the noise levels: where an adapter is trained at the
highest ones, what it costs at the lowest ones says little of what it learns. Where the contrast
teaches the relation, it is judged by what is wanted: the held-out margin, less the retention loss
where something is retained.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from torch import nn

from ablate2tune.disk.state_file import load_state, save_state
from ablate2tune.train.training_state import put_back

GIVEN_BACK = 0.75
"""The last weights are not kept if they have lost more than this share of the best gain: single
validations of a healthy run may well differ by a third of it."""


def judged(validation: Mapping[str, Any], retained: bool = True) -> float:
    """What a row's validation is worth, the lower the better.

    The loss as training meets the noise levels; where margins were measured, minus their mean, and
    plus the retention loss where something is retained. Both are mean squared errors of
    predictions: a margin that is bought with as much drift is worth nothing.
    """
    if "margin" in validation:
        return (validation["retention"] if retained else 0.0) - validation["margin"]
    return validation["as_trained"]


class Validated(NamedTuple):
    """A step and its validation loss."""

    step: int
    loss: float
    """See `judged`."""


class Course(NamedTuple):
    """What a run's losses say."""

    loss: tuple[float, float]
    """Mean training loss over the first and the last tenth of the steps."""
    start: Validated
    """Of the untouched model."""
    last: Validated
    best: Validated
    """Among the steps that were trained."""

    by_margin: bool = False
    """Whether the losses are minus margins."""
    retained: bool = True
    """Whether they are so with the retention loss added."""

    @property
    def gives_back(self) -> bool:
        """Whether the last weights have clearly lost what the best had gained."""
        gain = self.start.loss - self.best.loss
        return gain > 0 and self.last.loss - self.best.loss > GIVEN_BACK * gain

    @property
    def keeps_best(self) -> bool:
        """Whether the weights of the best step are kept instead of the last ones.

        By margin always: it is what is wanted, on the same pictures and noise each time.
        """
        better = self.best.loss < min(self.last.loss, self.start.loss)
        return self.gives_back or (self.by_margin and better)

    @property
    def _name(self) -> str:
        margin = f"held-out margin{' less retention' * self.retained}"
        return margin if self.by_margin else "validation"

    def _told(self, validated: Validated) -> str:
        return f"{-validated.loss if self.by_margin else validated.loss:.4g}"

    def line(self) -> str:
        """Both losses, from where to where."""
        return (
            f"loss {self.loss[0]:.4g} -> {self.loss[1]:.4g}, {self._name} "
            f"{self._told(self.start)} -> {self._told(self.last)} "
            f"(best {self._told(self.best)} at step {self.best.step}"
            f"{', which is kept' if self.keeps_best and not self.gives_back else ''})"
        )

    def warning(self, learning_rate: float) -> str | None:
        """What must not go unsaid about the end of a run; None where it ended well."""
        mend = f"lower train.learning_rate (now {learning_rate:g})"
        if self.gives_back:
            return (
                f"warning: {self._name} ended at {self._told(self.last)}, after "
                f"{self._told(self.best)} at step {self.best.step}; adapter/ holds the weights of "
                f"step {self.best.step}, adapter-last/ those of the end; {mend}, or train for "
                "fewer steps"
            )
        if self.last.loss > self.start.loss:
            side = "below" if self.by_margin else "above"
            return (
                f"warning: {self._name} ended {side} its start, {self._told(self.start)} -> "
                f"{self._told(self.last)}, and was never better: the adapter does harm; {mend}"
            )
        return None


def course_of(
    rows: Sequence[Mapping[str, Any]], best: Validated | None, retained: bool = True
) -> Course:
    """The course of a run that has ended, by the rows of log.jsonl.

    `best` is the best validated step, if its weights are there; by the rows otherwise. `retained`
    as for `judged`.
    """
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    tenth = max(1, len(losses) // 10)
    seen = [row for row in rows if "validation" in row]
    found = [Validated(row["step"], judged(row["validation"], retained)) for row in seen]
    return Course(
        loss=(fmean(losses[:tenth]), fmean(losses[-tenth:])),
        start=found[0],
        last=found[-1],
        best=best or min(found[1:], key=lambda validated: validated.loss),
        by_margin="margin" in seen[0]["validation"],
        retained=retained,
    )


class BestWeights:
    """The trained weights with the lowest validation loss so far, in one file."""

    def __init__(self, path: Path, parameters: dict[str, nn.Parameter]):
        """Of these parameters, by name; what lies in the file is gone on with."""
        self._path, self._parameters = path, parameters

    @property
    def step(self) -> Validated | None:
        """The best step; None before the first."""
        return Validated(*load_state(self._path)[1]["best"]) if self._path.exists() else None

    def forget(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)

    def offer(self, step: int, loss: float) -> None:
        """Keep the weights if no step before had a lower loss."""
        best = self.step
        if best is None or loss < best.loss:
            save_state(self._path, dict(self._parameters), {"best": [step, loss]})

    def restore(self) -> None:
        """Put the best weights into the model."""
        put_back(self._parameters, load_state(self._path)[0])
