"""Folders that are there whole or not at all."""

from pathlib import Path

import pytest
from safetensors import SafetensorError

from ablate2tune.disk.new_folder import check_new, check_writable, new_folder
from ablate2tune.errors import UserError


def test_it_is_there_once_it_is_whole(tmp_path: Path):
    out = tmp_path / "above" / "out"
    with new_folder(out) as folder:
        (folder / "a").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.parent.iterdir()] == ["out"]
    assert (out / "a").read_text() == "1"
    with pytest.raises(UserError, match="is there already"), new_folder(out):
        pytest.fail("entered")
    with new_folder(out, replace=True) as folder:
        (folder / "b").write_text("2")
        assert (out / "a").exists()
    assert [path.name for path in out.iterdir()] == ["b"]


@pytest.mark.parametrize(
    ("error", "raised", "says"),
    [
        (OSError(28, "No space left on device"), UserError, "out: cannot write: No space left"),
        (OSError("repo is odd"), UserError, "out: cannot write: repo is odd"),
        (SafetensorError("I/O error: No space left"), UserError, "cannot write .*No space left"),
        (KeyboardInterrupt(), KeyboardInterrupt, None),
        (UserError("of its own"), UserError, "of its own"),
    ],
)
def test_what_fails_leaves_nothing(tmp_path: Path, error, raised, says: str | None):
    with pytest.raises(raised, match=says), new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        raise error
    assert not list(tmp_path.iterdir())


def test_what_a_killed_run_left_is_taken_away(tmp_path: Path):
    (tmp_path / ".out.tmp").mkdir()
    (tmp_path / ".out.tmp" / "half").write_text("")
    with new_folder(tmp_path / "out") as folder:
        assert not list(folder.iterdir())


def test_places_where_nothing_can_be_made(tmp_path: Path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file: is a file, not a folder"):
        check_new(tmp_path / "file" / "below" / "out")
    for folder in (tmp_path, Path("/")):
        with pytest.raises(UserError, match="is a folder; name a file in it"):
            check_writable(folder)
    check_writable(tmp_path / "none" / "yet" / "out")
    monkeypatch.setattr("os.access", lambda path, mode: path != tmp_path)  # root may do all
    with pytest.raises(UserError, match=f"{tmp_path}: no permission to write into it"):
        check_writable(tmp_path / "none" / "yet" / "out")
