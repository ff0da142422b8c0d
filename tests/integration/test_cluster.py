"""Several real Ray nodes on this machine: code and weights reach them, and one may go."""

import fcntl
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from pipeline.cells import CellPlan
from pipeline.config import Cells
from pipeline.executors import run_on_ray
from pipeline.executors.actors import CellActor
from pipeline.executors.cluster import connected, receive, ship
from pipeline.folder import Folder
from pipeline.health import verify
from tests.integration.engine import captioned, our_processes, parent_of, score, tables
from tests.poison import Poison

pytestmark = pytest.mark.slow
NODES = 2


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Return a head that runs no cell, and two nodes of one CPU each."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("THRESHER_CACHE", str(tmp_path_factory.mktemp("cache")))
        found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        try:
            for _ in range(NODES):
                found.add_node(num_cpus=1)
            found.wait_for_nodes()
            yield found
        finally:
            ray.shutdown()
            found.shutdown()


@pytest.fixture
def texts(tmp_path):
    """Return a folder of shards of captions."""
    for shard in range(8):
        captioned(tmp_path / "texts" / f"{shard}.tar", [f"{shard} has pair {i}" for i in range(30)])
    return tmp_path / "texts"


@pytest.fixture
def driver_only():
    """Return a function that gives a file's bytes a path that is theirs in this process only."""
    descriptors = []

    def path(file):
        with file.open("rb") as stream:  # so high that it is no open file's number elsewhere
            descriptors.append(fcntl.fcntl(stream, fcntl.F_DUPFD_CLOEXEC, 300))
        return Path("/proc/self/fd") / str(descriptors[-1])

    yield path
    for descriptor in descriptors:
        os.close(descriptor)


def raylets(cluster):
    return {n.all_processes["raylet"][0].process.pid: n for n in cluster.worker_nodes}


@ray.remote
def import_what_was_sent():
    """Import a cell in a process that has nothing else than what Ray has brought here."""
    brought = [path for path in sys.path if "runtime_resources" in path]
    text = (
        "import pipeline.executors.actors as a, filters.extract as f; print(a.__file__, f.__file__)"
    )
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, cwd="/",
        env=os.environ | {"PYTHONPATH": os.pathsep.join(brought)},
    ).stdout.split()  # fmt: skip


def test_the_code_of_this_process_is_sent_to_nodes(cluster):
    with connected(cluster.address):
        for path in ray.get(import_what_was_sent.remote()):
            assert "runtime_resources" in path


def test_every_node_works_with_a_model_that_only_the_driver_has(
    cluster, texts, tmp_path, driver_only
):
    model, pause, parents = tmp_path / "model.bin", tmp_path / "pause", set()
    model.write_bytes(b"1234567")
    extractor = Poison(weights=("model",), pause=str(pause))
    score(texts, tmp_path / "reference", extractor, weights=lambda _name: model)
    pause.touch()

    def look(snapshot):
        if pause.exists() and snapshot.cells == NODES:
            parents.update(parent_of(pid) for pid in our_processes(b"CellActor.run"))
            pause.unlink()

    shown = driver_only(model)
    score(
        texts, tmp_path / "out", extractor, weights=lambda _name: shown,
        execute=run_on_ray(cluster.address), progress=look,
    )  # fmt: skip
    assert parents == set(raylets(cluster))
    assert list(tables(tmp_path / "out").values()) == list(tables(tmp_path / "reference").values())
    assert list(verify(Folder(str(tmp_path / "out")))) == []


@ray.remote
def received(weights, parcels):
    paths = receive(weights, parcels)
    return {name: (path, Path(path).read_bytes()) for name, path in paths.items()}


def test_a_node_takes_its_own_model_if_it_is_the_very_same(cluster, tmp_path):
    for name in ("same", "other", "none"):
        (tmp_path / name).write_bytes(name.encode())
    weights = {name: str(tmp_path / name) for name in ("same", "other", "none")}
    with connected(cluster.address):
        parcels = ship(weights)
        (tmp_path / "other").write_bytes(b"OTHER")
        (tmp_path / "none").unlink()
        found = ray.get(received.remote(weights, parcels))
    assert {name: data for name, (_, data) in found.items()} == {
        name: name.encode() for name in weights
    }
    assert {name for name, (path, _) in found.items() if path == weights[name]} == {"same"}


def test_a_run_folder_that_a_node_does_not_share_is_a_wrong_request(cluster, tmp_path):
    plan = CellPlan(
        extractors=(Poison(),), weights={}, store=str(tmp_path), stage="s", newest=0.0,
        settings=Cells(),
    )  # fmt: skip
    text = rf"run folder: got {tmp_path}, which node {re.escape(socket.gethostname())} does not"
    with connected(cluster.address):
        cell = ray.remote(CellActor).remote(plan, "cell", None)
        with pytest.raises(
            ValueError, match=rf"{text} share.*; give a folder that every node sees"
        ):
            ray.get(cell.run.remote({}))


def test_a_node_that_goes_costs_no_row(cluster, texts, tmp_path):
    """Its cell is dead before the other one may go on, so that what it held must come back."""
    pause, lost = tmp_path / "pause", []
    extractor = Poison(pause=str(pause))
    score(texts, tmp_path / "reference", extractor)
    pause.touch()

    def remove_one(snapshot):
        if not lost and snapshot.cells == NODES:
            raylet, node = raylets(cluster).popitem()
            lost.extend(p for p in our_processes(b"CellActor.run") if parent_of(p) == raylet)
            cluster.remove_node(node, allow_graceful=False)
            while any(Path(f"/proc/{pid}").exists() for pid in lost):
                time.sleep(0.05)
            pause.unlink()

    score(
        texts, tmp_path / "out", extractor,
        execute=run_on_ray(cluster.address), progress=remove_one,
    )  # fmt: skip
    assert len(lost) == 1
    assert list(tables(tmp_path / "out").values()) == list(tables(tmp_path / "reference").values())
