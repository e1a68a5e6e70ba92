"""What one process of a cluster does, and what is said without Ray; no cluster is needed."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from pretended import pretended_blender

from ablate2tune.errors import UserError
from ablate2tune.scenes.rendering import ray_worker
from ablate2tune.scenes.rendering.ray_pool import check_reachable
from ablate2tune.scenes.rendering.ray_worker import Setup, render, with_paths
from ablate2tune.scenes.rendering.render_engine import open_engine
from ablate2tune.scenes.scenes_config import ScenesConfig

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


def test_models_and_maps_are_found_where_the_assets_were_sent(held, tmp_path):
    """The pretended worker reads the files, and none of them lies where the sender has it."""
    sent = (("chest.glb", b"glTF"), ("meadow.hdr", b"#?RADIANCE"))
    names = {f"/sender/{name}": name for name, _ in sent}
    job = {
        "group": GROUP, "folder": "", "rejections": [],
        "models": {"tool chest": {"path": "/sender/chest.glb", "turn": 0, "content": "glTF"}},
        "maps": {"meadow": {"path": "/sender/meadow.hdr", "content": "#?RADIANCE"}},
    }  # fmt: skip
    outcome = render(setup(tmp_path, assets=sent), with_paths(job, names.__getitem__))
    assert outcome.answer == {"status": "accepted"}, outcome
    assert job["models"]["tool chest"]["path"] == "/sender/chest.glb"
    assert with_paths({"group": GROUP}, names.__getitem__) == {"group": GROUP}


@pytest.mark.parametrize("device, gpus", [("cpu", ""), ("gpu", "all")])
def test_a_node_is_told_device_and_view_transforms(held, monkeypatch, tmp_path, device, gpus):
    """Ray hides the GPUs from a task that asks for none; Blender must see them."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(ray_worker, "usable_cores", lambda: [None])
    monkeypatch.setattr(ray_worker.tempfile, "tempdir", str(tmp_path))
    asked = setup(tmp_path)._replace(device=device, view_transforms=("Standard", "AgX"))
    outcome = render(asked, {"group": GROUP, "folder": "", "rejections": []})
    assert outcome.made_with is not None
    assert outcome.made_with["device"] == device and outcome.made_with["gpus"] == gpus
    assert outcome.made_with["view_transforms"] == "Standard AgX"


def test_processes_of_one_node_take_its_gpus_in_turn(held, monkeypatch, tmp_path):
    slots, locks, cores = [], [], sorted(os.sched_getaffinity(0))[:1]
    monkeypatch.setattr(ray_worker.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_worker, "usable_cores", lambda: [997, 998, *cores])
    for taken in range(3):
        monkeypatch.setattr(ray_worker._Held, "core", None)  # as in another process
        pool = ray_worker._pool(setup(tmp_path)._replace(timeout=5.0 + taken))
        slots.append((pool._first_slot, pool._cores))
        locks.append(ray_worker._Held.core)
    assert slots == [(0, [997]), (1, [998]), (2, cores)]
    for lock in locks:
        lock.close()


def test_the_ray_engine_is_opened_with_what_the_local_one_is(monkeypatch, tmp_path):
    opened = {}

    def note(name):
        return lambda *settings: opened.setdefault(name, settings)

    monkeypatch.setattr("ablate2tune.scenes.rendering.ray_pool.RayPool", note("ray"))
    monkeypatch.setattr("ablate2tune.scenes.rendering.render_engine.WorkerPool", note("local"))
    for engine in ("ray", "local"):
        open_engine(ScenesConfig(engine=engine, device="auto", view_transforms=["AgX"], workers=3))
    assert opened["ray"] == opened["local"]
    assert opened["ray"] == (None, 3, pytest.approx(60.66, abs=0.01), None, 4.0, "auto", ["AgX"])


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


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nothing_answers(form):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        check_reachable(form.format(port))
    with pytest.raises(UserError, match="cannot be reached") as caught:
        check_reachable(form.format(port))
    assert str(port) in str(caught.value) and "RAY_ADDRESS" in str(caught.value)


@pytest.mark.parametrize("address", ["", "auto", "local"])
def test_other_addresses_are_left_to_ray(address):
    check_reachable(address)


def test_an_address_that_is_none():
    with pytest.raises(UserError, match="is no address"):
        check_reachable("127.0.0.1:port")
