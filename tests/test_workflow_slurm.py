"""The grid on a real Slurm cluster: the same records as on one machine, whatever happens to the jobs."""

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from builders.grid import REPOSITORY, SnakemakeRun
from builders.processes import python, run
from builders.slurm_cluster import SlurmCluster, SlurmJob
from builders.slurm_grid import TARGET, Grid, running_cluster

from rspose.grid.cell import Cell
from rspose.grid.config import load_config

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(2400),  # under three minutes on two idle cores; a machine may be busy
]

# Each of the first two is disturbed twice.
CELLS = CANCELLED_AND_PREEMPTED, TIMED_OUT_AND_NODE_LOST, UNDISTURBED = [
    Cell("mpii", "tiny", "simcc", loss, 0) for loss in ("mse", "kl", "rspose")
]


def test_the_profile_is_found_from_the_repository_s_folder() -> None:
    command = "snakemake --profile slurm --dry-run --config losses=mse heads=simcc"
    assert "Using profiles slurm" in python("-m", *command.split(), folder=REPOSITORY)
    tracked = run("git", "ls-files", "--stage", "slurm", folder=REPOSITORY)
    assert tracked.startswith("120000")  # a link that a clone has too


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with running_cluster(tmp_path_factory.mktemp("slurm")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def local(tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """The grid, run without a cluster."""
    grid = Grid(tmp_path_factory.mktemp("local"), tiny_datasets, CELLS)
    jobs = dict.fromkeys(("train", "predict", "evaluate", "record"), len(CELLS))
    assert SnakemakeRun(grid.folder, grid.config_file, [TARGET]).jobs == {**jobs, "collect": 1}
    return grid


@pytest.fixture(scope="module")
def disturbed(cluster: SlurmCluster, tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """The grid, run on the cluster, with faults in the middle of all of its trainings but one."""
    grid = Grid(tmp_path_factory.mktemp("cluster"), tiny_datasets, CELLS, cluster)
    lost_nodes = []

    def lose_node(job: SlurmJob) -> None:
        cluster.kill_node(job.node)
        lost_nodes.append(job.node)

    def bring_it_back() -> None:
        if lost_nodes and grid.trainings(TIMED_OUT_AND_NODE_LOST)[-1].state != "RUNNING":  # Slurm has noticed
            cluster.start_node(lost_nodes.pop())

    faults = {
        CANCELLED_AND_PREEMPTED: [cluster.cancel, lambda job: cluster.take_node(job.node)],
        TIMED_OUT_AND_NODE_LOST: [cluster.end_time, lose_node],
    }
    grid.run(faults, bring_it_back)
    return grid


class TestAGridWhoseJobsAreDisturbed:
    def test_every_cell_has_its_record_once(self, disturbed: Grid) -> None:
        grid = load_config(disturbed.config_file).cells()
        found = {
            str(path.relative_to(disturbed.folder / "results/records"))
            for path in (disturbed.folder / "results/records").rglob("*")
            if path.is_file()
        }
        assert found == {f"{cell.path}.json" for cell in grid}
        with open(disturbed.folder / TARGET) as file:
            losses = [row["loss"] for row in csv.DictReader(file)]
        assert Counter(losses) == {cell.loss: 1 for cell in grid}

    @pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.loss)
    def test_its_records_and_weights_equal_those_of_a_local_run(
        self, disturbed: Grid, local: Grid, cell: Cell
    ) -> None:
        here, there = local.record(cell), disturbed.record(cell)
        for same in ("cell", "metrics", "confidence", "protocol", "data", "loss"):
            assert there[same] == here[same]
        for same in ("training_sha256", "config_sha256", "code_sha256", "versions"):
            assert there["provenance"][same] == here["provenance"][same]
        for same in ("iterations", "epochs", "learning_rate", "final_loss"):
            assert there["training"][same] == here["training"][same]
        ours, theirs = disturbed.weights(cell), local.weights(cell)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)

    @pytest.mark.parametrize(
        ("cell", "states"),
        [
            # Preempted or on a lost node, the second job is started again by Slurm, under the same number.
            (CANCELLED_AND_PREEMPTED, ["CANCELLED", "COMPLETED"]),
            (TIMED_OUT_AND_NODE_LOST, ["TIMEOUT", "COMPLETED"]),
            (UNDISTURBED, ["COMPLETED"]),
        ],
        ids=lambda value: value.loss if isinstance(value, Cell) else "",
    )
    def test_an_interrupted_training_is_resumed_and_its_record_says_so(
        self, disturbed: Grid, local: Grid, cell: Cell, states: list[str]
    ) -> None:
        trainings = disturbed.trainings(cell)
        assert [job.state for job in trainings] == states
        assert disturbed.record(cell)["training"]["resumed"] is (cell != UNDISTURBED)
        assert local.record(cell)["training"]["resumed"] is False
        assert disturbed.resumed(cell) == (0 if cell == UNDISTURBED else 2)
        # The second attempt asks for more time, as long as the partition allows it.
        limits = [job.time_limit for job in trainings if job.state == "COMPLETED"]
        assert limits == ["30:00" if len(states) == 2 else "15:00"]

    def test_the_job_that_an_urgent_one_took_the_node_of_went_back_into_the_queue(
        self, disturbed: Grid
    ) -> None:
        training = disturbed.trainings(CANCELLED_AND_PREEMPTED)[-1]
        assert training.number in disturbed.cluster.preempted()
        (urgent,) = [job for job in disturbed.cluster.jobs() if job.comment == "urgent"]
        assert (urgent.state, urgent.partition) == ("COMPLETED", "urgent")

    def test_jobs_ask_for_what_their_rules_need(self, disturbed: Grid) -> None:
        jobs = [job for job in disturbed.cluster.jobs() if job.comment != "urgent"]
        rules = Counter(job.comment.removeprefix("rule_").split("_")[0] for job in jobs)
        assert rules == {"train": 5, "predict": 3, "score": 3}  # evaluation and record of a cell are one job
        for job in jobs:
            runs_a_model = job.comment.startswith(("rule_train", "rule_predict"))
            assert job.gpus == ("gres:gpu:a100:1" if runs_a_model else "N/A")
            assert job.partition == ("gpus" if runs_a_model else "all")
            assert job.cpus == "1"
            if not job.comment.startswith("rule_train"):
                assert job.time_limit == "30:00"  # as long as the partitions allow, also for a group

    def test_a_second_run_does_nothing(self, disturbed: Grid) -> None:
        before = disturbed.cluster.jobs()
        snakemake = disturbed.start()
        assert snakemake.wait(timeout=300) == 0
        assert "Nothing to be done" in disturbed.output
        assert disturbed.cluster.jobs() == before


def test_a_training_on_two_devices_gets_two_gpus_of_one_node(
    tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with running_cluster(tmp_path_factory.mktemp("gpus"), gpus=2) as cluster:
        grid = Grid(tmp_path_factory.mktemp("devices"), tiny_datasets, [UNDISTURBED], cluster)
        config = yaml.safe_load(grid.config_file.read_text())
        config["training"].update(devices=2, epochs=1)
        config["loss_settings"] = {UNDISTURBED.loss: {"parameters": {"gather": True}}}
        grid.config_file.write_text(yaml.safe_dump(config))
        cell = f"results/cells/{UNDISTURBED.path}"
        assert grid.start(f"{cell}/predictions.npz").wait() == 0, grid.output
        asked = {job.comment.split("_")[1]: job for job in cluster.jobs()}
    assert (asked["train"].gpus, asked["train"].cpus) == ("gres:gpu:a100:2", "2")
    assert (asked["predict"].gpus, asked["predict"].cpus) == ("gres:gpu:a100:1", "1")
    training = json.loads((grid.folder / cell / "training.json").read_text())
    assert (training["devices"], training["batch_size_per_device"]) == (2, 2)
