from pathlib import Path

import pytest
import torch
from torch import nn

from ablate2tune import files
from ablate2tune.errors import UserError
from ablate2tune.train.course import BestWeights, Course, Validated, course_of
from ablate2tune.train.training_log import TrainingLog


def course(start: float, best: float, last: float) -> Course:
    return Course((0.5, 0.4), Validated(0, start), Validated(9, last), Validated(6, best))


@pytest.mark.parametrize(
    "start, best, last, gives_back",
    [
        (1.0, 0.8, 0.8, False),
        (1.0, 0.8, 0.85, False),  # a quarter of the gain is lost
        (1.0, 0.8, 0.9, False),  # a half
        (1.0, 0.8, 0.97, True),  # more than three quarters
        (1.0, 0.8, 3.0, True),
        (1.0, 1.2, 3.0, False),  # there never was a gain to go back to
        (1.0, 1.0, 1.0, False),
    ],
)
def test_the_best_weights_are_taken_where_the_last_gave_back_most_of_the_gain(
    start: float, best: float, last: float, gives_back: bool
):
    assert course(start, best, last).gives_back == gives_back


def test_what_must_not_go_unsaid():
    assert course(1.0, 0.8, 0.85).warning(0.1) is None
    harm = course(0.126, 2.0, 2.5).warning(100)
    assert harm is not None and "above its start, 0.126 -> 2.5" in harm and "now 100" in harm
    back = course(1.0, 0.8, 0.97).warning(0.1)
    assert back is not None and "adapter/ holds the weights of step 6" in back


def test_a_course_from_the_log_by_hand():
    rows = [{"step": 0, "loss": None, "validation": {"as_trained": 0.5}}]
    rows += [{"step": step, "loss": float(step)} for step in range(1, 21)]
    for step, loss in ((10, 0.2), (20, 0.3)):
        rows[step]["validation"] = {"as_trained": loss}
    found = course_of(rows, None)
    # A tenth of 20 steps: 1 and 2, 19 and 20.
    assert found == ((1.5, 19.5), (0, 0.5), (20, 0.3), (10, 0.2), False, True)
    line = "loss 1.5 -> 19.5, validation 0.5 -> 0.3 (best 0.2 at step 10)"
    assert found.line() == line
    assert course_of(rows, Validated(15, 0.1)).best == (15, 0.1)


def test_a_course_by_margin_by_hand():
    rows = [{"step": step, "loss": 1.0} for step in range(4)]
    for step, margin, retention in (
        (0, 0.01, 0.0),
        (1, 0.4, 0.1),
        (2, 0.35, 0.02),
        (3, 0.36, 0.05),
    ):
        rows[step]["validation"] = {"as_trained": step, "margin": margin, "retention": retention}
    found = course_of(rows, None)
    assert found.start.loss == -0.01 and found.best.step == 2
    assert found.best.loss == pytest.approx(-0.33) and found.last.loss == pytest.approx(-0.31)
    # By margin the best is kept even where the last lost little; that is no reason to warn.
    assert found.keeps_best and found.warning(0.1) is None
    assert found.line() == (
        "loss 1 -> 1, held-out margin less retention 0.01 -> 0.31 "
        "(best 0.33 at step 2, which is kept)"
    )
    assert not found._replace(best=found.last).keeps_best
    harm = found._replace(best=Validated(2, 0.2), last=Validated(3, 0.3)).warning(0.1)
    assert harm is not None and "ended below its start, 0.01 -> -0.3" in harm
    # Where nothing is retained, what drifts away is not held against the margin.
    free = course_of(rows, None, retained=False)
    assert (free.best.step, free.best.loss, free.last.loss) == (1, -0.4, -0.36)
    assert "held-out margin 0.01 -> 0.36 (best 0.4 at step 1, which is kept)" in free.line()


def test_the_best_weights_are_the_ones_of_the_lowest_loss(tmp_path: Path):
    weight = nn.Parameter(torch.zeros(2))
    best = BestWeights(tmp_path / "best", {"w": weight})
    assert best.step is None
    for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
        weight.data.fill_(step)
        best.offer(step, loss)
    best.restore()
    assert weight.tolist() == [2.0, 2.0]
    assert BestWeights(tmp_path / "best", {"w": weight}).step == (2, 1.0)
    best.forget()
    assert best.step is None


def test_the_log_warns_once_where_validation_rises(tmp_path: Path):
    log = TrainingLog(tmp_path / "log.jsonl", torch.device("cpu"))

    def write(step: int, loss: float | None, validation: float | None = None) -> str | None:
        found = {} if validation is None else {"validation": {"as_trained": validation}}
        return log.write(step, loss=loss, **found)

    assert write(0, None, 0.126) is None
    assert write(1, 0.5) is None and log.note == "validation 0.126, loss 0.500"
    assert write(2, 0.4, 0.13) is None
    warned = write(3, 0.4, 2.5)
    assert warned is not None and "from 0.126 to 2.5 at step 3" in warned
    assert write(4, 0.4, 3.0) is None

    resumed = TrainingLog(tmp_path / "log.jsonl", torch.device("cpu"))
    resumed.cut(1)
    assert [row["step"] for row in files.read_jsonl(tmp_path / "log.jsonl")] == [0, 1]
    assert resumed.note == "validation 0.126, loss 0.500"


def test_a_log_without_the_steps_behind_a_checkpoint_is_one_line(tmp_path: Path):
    """A log that was deleted left no course to tell, and the same command failed for ever."""
    path = tmp_path / "log.jsonl"
    lost: list[list[dict]] = [[], [{"step": 1}], [{"step": 0}, {"step": 2}], [{"step": 0}, {}]]
    for rows in lost:
        files.write_jsonl(path, rows)
        with pytest.raises(UserError, match=r"log\.jsonl: lacks rows of the 1 steps.*`rm -r "):
            TrainingLog(path, torch.device("cpu")).cut(1)
