"""Which checkpoints are kept, and that each is there whole or not at all."""

import os
from pathlib import Path

import pytest

from ablate2tune.errors import UserError
from ablate2tune.train.checkpoints.kept_checkpoints import KeptCheckpoints


def write(text: str):
    def into(folder: Path) -> None:
        (folder / "a").write_text(text)
        (folder / "b").write_text(text)

    return into


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_last_three_by_number(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    kept = KeptCheckpoints(folder, 3)
    for step in (2, 40, 999_998, 1_000_000):
        kept.keep(step, write(str(step)))
    assert names(folder) == ["step-000040", "step-1000000", "step-999998"]
    assert kept.steps() == [40, 999_998, 1_000_000]
    assert (folder / "step-000040" / "b").read_text() == "40"
    kept.keep(1_000_000, write("again"))
    assert (folder / "step-1000000" / "a").read_text() == "again"
    assert len(names(folder)) == 3


def test_fewer_on_the_way_and_one_is_none_beside_the_state(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    for step in (1, 2, 3):
        KeptCheckpoints(folder, 3).keep(step, write(""))
    KeptCheckpoints(folder, 2).keep(4, write(""))
    assert names(folder) == ["step-000003", "step-000004"]
    KeptCheckpoints(folder, 1).keep(5, lambda _: pytest.fail("it is not written"))
    assert not folder.exists()


def test_what_is_not_written_whole_is_not_there(tmp_path: Path):
    folder, kept = tmp_path / "checkpoints", KeptCheckpoints(tmp_path / "checkpoints", 2)
    for step in (1, 2):
        kept.keep(step, write(str(step)))

    def torn(scratch: Path) -> None:
        write("3")(scratch)
        assert names(folder)[1:] == ["step-000001", "step-000002"]
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match="No space left"):
        kept.keep(3, torn)
    assert names(folder) == ["step-000001", "step-000002"]


def test_what_a_killed_run_left_and_what_lies_after_it_goes(tmp_path: Path):
    folder, kept = tmp_path / "checkpoints", KeptCheckpoints(tmp_path / "checkpoints", 4)
    for step in (1, 2, 3):
        kept.keep(step, write(str(step)))
    for left in (".step-000004.tmp", ".step-000000.gone"):
        (folder / left).mkdir()
        (folder / left / "a").write_text("half")
    kept.forget_after(2)
    assert names(folder) == ["step-000001", "step-000002"]
    kept.forget_after(0)
    assert not folder.exists()
    kept.forget_after(0)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path):
    folder = tmp_path / "checkpoints"
    KeptCheckpoints(folder, 2).keep(1, write(""))
    folder.chmod(0o500)
    try:
        with pytest.raises(UserError, match="step-000002"):
            KeptCheckpoints(folder, 2).keep(2, write(""))
    finally:
        folder.chmod(0o700)
