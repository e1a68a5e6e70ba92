"""How a training run went, by its log, and which of its weights are kept.

Losses of single steps are noisy, so training's is told as the mean over the first and the last
tenth. Validation is weighed as training meets the noise levels: where an adapter is trained at the
highest ones, what it costs at the lowest ones says little of what it learns.
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


class Validated(NamedTuple):
    """A step and its validation loss."""

    step: int
    loss: float


class Course(NamedTuple):
    """What a run's losses say."""

    loss: tuple[float, float]
    """Mean training loss over the first and the last tenth of the steps."""
    start: Validated
    """Of the untouched model."""
    last: Validated
    best: Validated
    """Among the steps that were trained."""

    @property
    def gives_back(self) -> bool:
        """Whether the last weights have clearly lost what the best had gained."""
        gain = self.start.loss - self.best.loss
        return gain > 0 and self.last.loss - self.best.loss > GIVEN_BACK * gain

    def line(self) -> str:
        """Both losses, from where to where."""
        return (
            f"loss {self.loss[0]:.4g} -> {self.loss[1]:.4g}, validation {self.start.loss:.4g} -> "
            f"{self.last.loss:.4g} (best {self.best.loss:.4g} at step {self.best.step})"
        )

    def warning(self, learning_rate: float) -> str | None:
        """What must not go unsaid about the end of a run; None where it ended well."""
        mend = f"lower train.learning_rate (now {learning_rate:g})"
        if self.gives_back:
            return (
                f"warning: validation ended at {self.last.loss:.4g}, after {self.best.loss:.4g} at "
                f"step {self.best.step}; adapter/ holds the weights of step {self.best.step}, "
                f"adapter-last/ those of the end; {mend}, or train for fewer steps"
            )
        if self.last.loss > self.start.loss:
            return (
                f"warning: validation ended above its start, {self.start.loss:.4g} -> "
                f"{self.last.loss:.4g}, and was never below it: the adapter does harm; {mend}"
            )
        return None


def course_of(rows: Sequence[Mapping[str, Any]], best: Validated | None) -> Course:
    """The course of a run that has ended, by the rows of log.jsonl.

    `best` is the best validated step, if its weights are there; by the rows otherwise.
    """
    losses = [row["loss"] for row in rows if row["loss"] is not None]
    tenth = max(1, len(losses) // 10)
    found = [
        Validated(row["step"], row["validation"]["as_trained"])
        for row in rows
        if "validation" in row
    ]
    return Course(
        loss=(fmean(losses[:tenth]), fmean(losses[-tenth:])),
        start=found[0],
        last=found[-1],
        best=best or min(found[1:], key=lambda validated: validated.loss),
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
