"""The grid on a Slurm cluster with accounting, where sacct says how the jobs are."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders.slurm_cluster import ACCOUNT, SlurmCluster
from builders.slurm_grid import Grid, running_cluster

from rspose.grid.cell import Cell

# About a minute on two idle cores. Where Snakemake loses sight of a job, it waits for ever.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

CELLS = CANCELLED_AND_PREEMPTED, TIMED_OUT = [
    Cell("mpii", "tiny", "simcc", loss, 0) for loss in ("mse", "kl")
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    with running_cluster(tmp_path_factory.mktemp("slurm"), accounting=True) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def disturbed(cluster: SlurmCluster, tiny_datasets: Path, tmp_path_factory: pytest.TempPathFactory) -> Grid:
    """Trainings with faults in the middle of each, while the database is away for a time; and one record."""
    grid = Grid(tmp_path_factory.mktemp("grid"), tiny_datasets, CELLS, cluster)
    outage = [
        (lambda: grid.output.count("has been submitted") >= len(CELLS), cluster.kill_database),
        (lambda: "Slurm does not answer" in grid.output, cluster.start_database),
    ]

    def take_the_database_away_for_a_time() -> None:
        if outage and outage[0][0]():
            outage.pop(0)[1]()

    faults = {
        CANCELLED_AND_PREEMPTED: [cluster.cancel, lambda job: cluster.take_node(job.node)],
        TIMED_OUT: [cluster.end_time],
    }
    targets = [f"results/cells/{cell.path}/checkpoint.pth" for cell in CELLS]
    targets.append(f"results/records/{CANCELLED_AND_PREEMPTED.path}.json")
    grid.run(faults, take_the_database_away_for_a_time, *targets)
    return grid


class TestAGridWhoseJobsAreDisturbed:
    @pytest.mark.parametrize(
        ("cell", "runs"),
        [
            # Preempted, the second job is started again by Slurm, under the same number.
            (CANCELLED_AND_PREEMPTED, [[f"CANCELLED by {os.getuid()}"], ["PREEMPTED", "COMPLETED"]]),
            (TIMED_OUT, [["TIMEOUT"], ["COMPLETED"]]),
        ],
        ids=lambda value: value.loss if isinstance(value, Cell) else "",
    )
    def test_an_interrupted_training_is_resumed(
        self, disturbed: Grid, cell: Cell, runs: list[list[str]]
    ) -> None:
        trainings = disturbed.trainings(cell)
        assert [disturbed.cluster.accounted(job.number, "State") for job in trainings] == runs
        assert disturbed.resumed(cell) == (1 if cell == TIMED_OUT else 2)

    def test_a_cell_gets_its_record(self, disturbed: Grid) -> None:
        assert disturbed.record(CANCELLED_AND_PREEMPTED)["training"]["resumed"]

    def test_snakemake_goes_on_when_the_database_is_back(self, disturbed: Grid) -> None:
        assert "Slurm does not answer" in disturbed.output
        assert "Slurm answers again" in disturbed.output

    def test_jobs_are_charged_to_the_account_that_the_user_named(self, disturbed: Grid) -> None:
        for job in disturbed.cluster.jobs():
            if job.comment != "urgent":
                assert {*disturbed.cluster.accounted(job.number, "Account")} == {ACCOUNT}

    def test_sacct_says_how_much_memory_a_training_took(self, disturbed: Grid) -> None:
        training = disturbed.trainings(CANCELLED_AND_PREEMPTED)[-1]
        *_, last = disturbed.cluster.accounted(f"{training.number}.0", "MaxRSS")
        assert last.endswith("K")
        assert 100_000 < int(last[:-1]) < 16_000_000  # more than Python alone, less than it asked for


def test_a_job_that_fails_is_reported_with_its_log(disturbed: Grid) -> None:
    # The steps of a cell say themselves how often they are tried, which is four jobs; this one does not.
    measured, target = "results/localisation/losses.json", "results/localisation/table.md"
    (disturbed.folder / measured).parent.mkdir()
    (disturbed.folder / measured).write_text("damaged")
    before = disturbed.output
    assert disturbed.start("--retries", "0", "--", target).wait() == 1
    said = disturbed.output.removeprefix(before)
    (job,) = [job for job in disturbed.cluster.jobs() if job.comment.startswith("rule_localisation_report")]
    assert disturbed.cluster.accounted(job.number, "State") == ["FAILED"]
    log = "results/logs/localisation_report.log"
    status = rf"SLURM-job '{job.number}' failed, SLURM status is: 'FAILED'"
    reported = rf"^localisation_report failed: {status}.* \(log: {log}\)$"
    assert len(re.findall(reported, said, re.MULTILINE)) == 1
    assert "JSONDecodeError" in (disturbed.folder / log).read_text()
