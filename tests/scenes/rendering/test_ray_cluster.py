"""The Ray engine on a cluster of this machine: same files, and deaths that cost nothing."""

import hashlib
import signal
import subprocess
import sys
import time

import pytest
from pretended import pretended_blender

from ablate2tune.errors import UserError
from ablate2tune.scenes.dataset.records import read_dataset
from ablate2tune.scenes.rendering.render import render_dataset
from ablate2tune.scenes.scenes_config import ScenesConfig

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'ablate2tune[ray]'")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found below /proc"),
]
TINY = ScenesConfig(
    images=8, size=32, samples=2, workers=2, objects=["ball", "cube"], colours=["red", "blue"],
    relations=["left of", "right of"], holdout=0.0, denoise=False, engine="ray",
)  # fmt: skip
SCRIPT = """
import pathlib, sys
from ablate2tune.scenes.scenes_config import ScenesConfig
from ablate2tune.scenes.rendering.render import render_dataset
config = ScenesConfig.model_validate_json(sys.argv[1])
render_dataset(config, 1, pathlib.Path(sys.argv[2]))
"""


@pytest.fixture
def cluster(monkeypatch):
    """Two nodes of one CPU beside a head without any; a dead node is noticed within seconds."""
    from ray.cluster_utils import Cluster

    soon = {"health_check_period_ms": 500, "health_check_failure_threshold": 4}
    made = Cluster(True, head_node_args={"num_cpus": 0, "_system_config": soon})
    for _ in range(2):
        made.add_node(num_cpus=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def alone(monkeypatch):
    """No cluster: one is started for the run."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def contents(folder):
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.mark.usefixtures("blender", "alone")
def test_the_same_files_as_the_local_engine_whatever_the_number_of_workers(tmp_path):
    render_dataset(TINY.model_copy(update={"engine": "local", "workers": 1}), 1, tmp_path / "local")
    render_dataset(TINY, 1, tmp_path / "ray")
    assert not ray.is_initialized()
    local = contents(tmp_path / "local")
    assert len(local) == 4 * 8 + 2
    assert contents(tmp_path / "ray") == local


@pytest.mark.usefixtures("alone")
def test_ctrl_c_leaves_a_folder_that_resumes(tmp_path):
    blender = pretended_blender(tmp_path, {"left of": "slow", "right of": "slow"})
    config = TINY.model_copy(update={"images": 16, "blender": blender})
    local = config.model_copy(update={"engine": "local"})
    command = [sys.executable, "-c", SCRIPT, config.model_dump_json(), str(tmp_path / "set")]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    while len(list(tmp_path.glob("set/sidecars/*.json"))) < 4:
        assert run.poll() is None, run.communicate()[1]
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    _, errors = run.communicate(timeout=120)
    assert run.returncode != 0 and "KeyboardInterrupt" in errors
    assert not list(tmp_path.glob("set/*/*.tmp"))
    kept = len(list(tmp_path.glob("set/sidecars/*.json")))
    assert 4 <= kept < 16
    summary = render_dataset(local, 1, tmp_path / "set")
    assert summary.damaged == 0 and summary.rendered_now == 16 - 2 * (kept // 2)
    render_dataset(local, 1, tmp_path / "whole")
    assert contents(tmp_path / "set") == contents(tmp_path / "whole")


@pytest.mark.parametrize("death", ["kill parent", "kill node"])
def test_a_death_costs_no_group(cluster, tmp_path, death):
    blender = pretended_blender(tmp_path, {"g000001": death})
    config = TINY.model_copy(update={"images": 16, "blender": blender})
    summary = render_dataset(config, 1, tmp_path / "set")
    assert (tmp_path / "killed").exists()
    assert summary.images == len(read_dataset(tmp_path / "set")) == 16
    ray.init(address=cluster.address)
    deadline = time.monotonic() + 60
    while sum(not node["Alive"] for node in ray.nodes()) != (death == "kill node"):
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.usefixtures("alone")
def test_a_group_that_kills_every_process_is_recorded_and_the_others_are_whole(tmp_path):
    blender = pretended_blender(tmp_path, {"g000002": "crash", "g000003": "reject"})
    config = TINY.model_copy(update={"images": 16, "blender": blender, "max_attempts": 2})
    with pytest.raises(UserError, match=r"2 of 8 groups failed: .*exit code 9 \(1\)"):
        render_dataset(config, 1, tmp_path / "set")
    assert len(read_dataset(tmp_path / "set")) == 12
    assert "out of luck" in (tmp_path / "set/failed/g000002.log").read_text()


def test_a_cluster_that_cannot_be_reached(monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    monkeypatch.setenv("RAY_gcs_server_port_wait_time_s", "1")
    with pytest.raises(UserError, match=r"scenes.engine = ray: the cluster cannot be .*RAY_ADDR"):
        render_dataset(TINY, 1, tmp_path / "set")
    assert not list(tmp_path.glob("set/images/*"))
