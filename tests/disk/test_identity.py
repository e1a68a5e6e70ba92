"""Content decides: not a name, a size, a time or a place."""

import os
from pathlib import Path

import pytest

from ablate2tune.disk import identity as module
from ablate2tune.disk.identity import NOT_HERE, identity
from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import data_identity

MEBIBYTE = 2**20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder whose `transformer` is a link to weights elsewhere, of two mebibytes."""
    weights, model = tmp_path / "weights", tmp_path / "model"
    for folder in (weights, model):
        folder.mkdir()
    (weights / "w.safetensors").write_bytes(bytes(2 * MEBIBYTE))
    (model / "model_index.json").write_text("{}")
    (model / "transformer").symlink_to(weights)
    return model


def age(path: Path) -> None:
    """As if written an hour ago, so that its times tell the next change."""
    os.utime(path, (path.stat().st_mtime - 3600,) * 2)


def test_a_copy_is_the_same_and_a_linked_weight_counts(model: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    (copy / "transformer").mkdir(parents=True)
    (copy / "model_index.json").write_text("{}")
    (copy / "transformer" / "w.safetensors").write_bytes(bytes(2 * MEBIBYTE))
    first = identity(model)
    assert identity(copy) == first
    # Replaced behind the link, at the same size.
    (tmp_path / "weights" / "w.safetensors").write_bytes(b"x" + bytes(2 * MEBIBYTE - 1))
    assert identity(model) != first


def test_what_nothing_loads_does_not_count(model: Path) -> None:
    first = identity(model)
    (model / "README.md").write_text("hello")
    (model / ".gitattributes").write_text("hello")
    assert identity(model) == first
    (model / "config.json").write_text("{}")
    assert identity(model) != first


def test_large_files_are_read_once_and_every_change_is_seen(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = tmp_path / "weights" / "w.safetensors"
    monkeypatch.setattr(module, "SETTLED", -1.0)
    first = identity(model)
    read = []
    digest = module.hashlib.file_digest
    monkeypatch.setattr(
        module.hashlib, "file_digest", lambda *given: read.append(1) or digest(*given)
    )
    assert identity(model) == first and not read
    with open(weights, "r+b") as file:  # in place: same size, same inode
        file.write(b"x")
    second = identity(model)
    assert second != first and len(read) == 1
    os.utime(weights, (0, 0))  # the clock set back after a change does not hide it
    with open(weights, "r+b") as file:
        file.write(b"y")
    os.utime(weights, (0, 0))
    assert identity(model) not in (first, second)


def test_a_file_that_has_just_changed_is_not_remembered(model: Path, tmp_path: Path) -> None:
    first = identity(model)
    weights = tmp_path / "weights" / "w.safetensors"
    stat = weights.stat()
    with open(weights, "r+b") as file:
        file.write(b"z")
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert identity(model) != first


def test_a_link_to_a_folder_above_itself_ends(model: Path) -> None:
    (model / "again").symlink_to(model)
    assert identity(model).startswith("content ")


def test_a_hub_name_counts_by_its_whole_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert identity("someone/model") == NOT_HERE
    repo = tmp_path / "hub" / "models--someone--model"
    snapshot = repo / "snapshots" / ("c" * 40)
    (snapshot / "transformer").mkdir(parents=True)
    (repo / "blobs").mkdir()
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("c" * 40)
    (snapshot / "model_index.json").write_text("{}")
    assert identity("someone/model") == NOT_HERE, "no weights yet"
    data = (model / "transformer" / "w.safetensors").read_bytes()
    blob = repo / "blobs" / module.hashlib.sha256(data).hexdigest()
    blob.write_bytes(data)
    (snapshot / "transformer" / "w.safetensors").symlink_to(blob)
    (repo / "blobs" / "x.incomplete").write_text("")
    assert identity("someone/model") == NOT_HERE, "a download is under way"
    (repo / "blobs" / "x.incomplete").unlink()
    assert identity("someone/model") == identity(model)


def test_a_picture_replaced_while_the_index_stays_is_another_data_set(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"1")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "images/a.png"}\n')
    first = data_identity(tmp_path)
    (tmp_path / "contact-sheet.png").write_bytes(b"of no account")
    assert data_identity(tmp_path) == first
    (tmp_path / "images" / "a.png").write_bytes(b"2")
    assert data_identity(tmp_path) != first
    (tmp_path / "images" / "a.png").unlink()
    with pytest.raises(UserError, match="no such picture"):
        data_identity(tmp_path)
