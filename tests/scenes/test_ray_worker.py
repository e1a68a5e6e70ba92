"""What one process of a cluster does, and what is said without Ray; no cluster is needed."""

import json
import sys
from pathlib import Path

import pytest
from pretended import pretended_blender

from ablate2tune.errors import UserError
from ablate2tune.recipe import ScenesConfig
from ablate2tune.scenes import ray_worker
from ablate2tune.scenes.engine import open_engine
from ablate2tune.scenes.ray_worker import Setup, render

GROUP = {
    "group_id": "g000004",
    "attempt": 0,
    "twins": [
        {"relation": "behind", "record": {"scene_id": f"g000004-{letter}"}} for letter in "ab"
    ],
}


@pytest.fixture
def held():
    """A process that holds no Blender yet, and closes the one it will hold."""
    yield
    if ray_worker._Held.pool is not None:
        ray_worker._Held.pool.__exit__()
        ray_worker._Held.pool = None


def setup(tmp_path, assets=None, **behaviour):
    return Setup(pretended_blender(tmp_path, behaviour), 5.0, None, assets)


def test_the_files_of_a_group_come_back_each_sidecar_last(held, tmp_path):
    outcome = render(setup(tmp_path), {"group": GROUP, "folder": "", "rejections": []})
    assert outcome.answer == {"status": "accepted"} and outcome.failure is None
    kinds = ("images/{}.png", "masks/{}.png", "depth/{}.png", "sidecars/{}.json")
    assert [name for name, _ in outcome.files] == [
        kind.format(f"g000004-{letter}") for letter in "ab" for kind in kinds
    ]
    contents = dict(outcome.files)
    assert contents["images/g000004-a.png"].startswith(b"\x89PNG")
    assert json.loads(contents["sidecars/g000004-b.json"])["scene_id"] == "g000004-b"


def test_one_blender_serves_many_jobs_and_another_setup_gets_its_own(held, tmp_path):
    job = {"group": GROUP, "folder": "", "rejections": []}
    render(setup(tmp_path), job)
    first = ray_worker._Held.pool
    render(setup(tmp_path), job)
    assert ray_worker._Held.pool is first
    render(setup(tmp_path, assets=(("mine.py", b"ASSET = 1"),)), job)
    assert ray_worker._Held.pool is not first
    folder = Path(ray_worker._Held.pool._environment["ABLATE2TUNE_ASSETS"])
    assert (folder / "mine.py").read_text() == "ASSET = 1"


def test_a_group_that_fails_and_a_node_that_cannot_render(held, tmp_path):
    job = {"group": GROUP, "folder": "", "rejections": []}
    outcome = render(setup(tmp_path, behind="fail"), job)
    assert outcome.failure is not None and outcome.answer is None
    assert outcome.failure[1] == "Blender failed: KeyError"
    ray_worker._Held.setup = None
    outcome = render(Setup("/nowhere/blender", 5.0, None, None), job)
    assert outcome.failure is None and outcome.error is not None
    assert "no executable '/nowhere/blender'" in outcome.error


def test_processes_of_one_node_take_different_cores(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_worker.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_worker, "usable_cores", lambda: [3, 5])
    locks, taken = [], []
    for _ in range(3):
        monkeypatch.setattr(ray_worker._Held, "core", None)  # as in another process
        taken.append(ray_worker._own_core())
        locks.append(ray_worker._Held.core)
    assert taken == [3, 5, None]
    locks[1].close()  # its process has ended
    assert ray_worker._own_core() == 5
    locks[0].close()
    ray_worker._Held.core.close()


def test_ray_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError) as error:
        open_engine(ScenesConfig(engine="ray"))
    assert str(error.value) == (
        "scenes.engine = ray: Ray is not installed; pip install 'ablate2tune[ray]'"
    )
