"""A Slurm cluster of two nodes on this machine, in a folder of its own, to test the cluster profile on."""

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import psutil

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
ACCOUNTING_PROGRAMS = ("slurmdbd", "sacct", "sacctmgr", "mariadbd", "mariadb-install-db", "my_print_defaults")
NODES = ("n1", "n2")
CLUSTER, ACCOUNT = "tests", "mylab"
MAX_MINUTES = 30
NO_ACCOUNTING = "AccountingStorageType=accounting_storage/none\nJobAcctGatherType=jobacct_gather/none"

# Debian puts the daemons where a user's PATH may not look.
SEARCH_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class SlurmJob(NamedTuple):
    """A line of squeue."""

    number: str
    state: str  # PENDING, RUNNING, COMPLETED, CANCELLED, TIMEOUT, ...
    comment: str  # what Snakemake says of it: ``rule_<rule>_wildcards_<wildcards>``
    node: str  # where it runs or ran
    time_limit: str  # ``15:00``
    partition: str
    gpus: str  # what it asked for, ``gres:gpu:a100:1``, or ``N/A``
    cpus: str


# The fields of a job, as squeue calls them.
FIELDS = ("JobID", "State", "Comment", "NodeList", "TimeLimit", "Partition", "tres-per-job", "NumCPUs")


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll ``condition``; fail with ``what`` when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.1)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


class SlurmCluster:
    """Two nodes with two CPUs and counted GPUs each, in two partitions, run by daemons of its own.

    A third partition, ``urgent``, takes their nodes: what runs there is requeued.

    Args:
        folder: Where configuration, keys, spools and logs of the daemons go; its path must be short, since a
            socket lies in it.
        gpus: GPUs of a node, one or two.
        accounting: Whether slurmdbd keeps a database of jobs, in a MariaDB of its own. Each job is charged to
            an account then; the user has the account ``ACCOUNT``.
    """

    def __init__(self, folder: Path, gpus: int = 1, accounting: bool = False) -> None:
        self.folder = folder
        self.gpus = gpus
        self.accounting = accounting
        self.environment = {
            **os.environ,
            "PATH": f"{folder / 'bin'}:{SEARCH_PATH}",
            "SLURM_CONF": str(folder / "slurm.conf"),
            "MYSQL_UNIX_PORT": str(folder / "database.socket"),
        }
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the daemons and wait for the nodes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        for name in ("state", *NODES):
            (self.folder / name).mkdir()
        # Snakemake takes Slurm's variables away from srun, also the one that says where the cluster is.
        srun = self.folder / "bin" / "srun"
        srun.parent.mkdir()
        real = shutil.which("srun", path=SEARCH_PATH)
        srun.write_text(f'#!/bin/sh\nSLURM_CONF="{self.folder}/slurm.conf" exec {real} "$@"\n')
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        self._write_configuration()
        files = {"key-file": "key", "seed-file": "seed", "socket": "socket"}
        files |= {"pid-file": "pid", "log-file": "log"}
        options = [f"--{option}={self.folder}/munge.{name}" for option, name in files.items()]
        self._start("munged", "--foreground", "--force", *options)
        wait_until((self.folder / "munge.socket").exists, 10, "the socket of munged")
        if self.accounting:
            self._start_accounting()
        self._start("slurmctld", "-D")
        for node in NODES:
            self.start_node(node)
        wait_until(lambda: self.node_states() == {node: "idle" for node in NODES}, 30, "idle nodes")

    def _start_accounting(self) -> None:
        data, database, user = self.folder / "database", self.folder / "database.socket", getpass.getuser()
        account = ["--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"]
        place = ["--no-defaults", f"--datadir={data}", f"--user={user}", "--innodb-log-file-size=4M"]
        self.command("mariadb-install-db", *place, *account, "--skip-test-db")
        self._start("mariadbd", *place, f"--socket={database}", "--skip-networking")
        wait_until(database.exists, 60, "the socket of mariadbd")
        self.start_database()
        wait_until(self._database_answers, 60, "an answer of slurmdbd")
        for entry in (("cluster", CLUSTER), ("account", ACCOUNT), ("user", user, f"account={ACCOUNT}")):
            self.command("sacctmgr", "--immediate", "add", *entry)

    def _write_configuration(self) -> None:
        controller, database, *nodes = _free_ports(2 + len(NODES))
        host, user = socket.gethostname(), getpass.getuser()
        partition = f"Nodes={','.join(NODES)} MaxTime={MAX_MINUTES} State=UP"
        lines = f"""
            ClusterName={CLUSTER}
            SlurmctldHost={host}(127.0.0.1)
            SlurmctldPort={controller}
            # Processes are found by the number of their job, which no other cluster on this machine has.
            FirstJobId={1000 * controller}
            MinJobAge=3600
            SlurmUser={user}
            SlurmdUser={user}
            AuthType=auth/munge
            # A requeued job waits for the credentials of its first run to expire: two minutes by default.
            AuthInfo=socket={self.folder}/munge.socket,cred_expire=5
            CredType=cred/munge
            StateSaveLocation={self.folder}/state
            SlurmctldPidFile={self.folder}/slurmctld.pid
            SlurmdPidFile={self.folder}/%n.pid
            SlurmdSpoolDir={self.folder}/%n
            SlurmctldLogFile={self.folder}/slurmctld.log
            SlurmdLogFile={self.folder}/%n.log
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            SelectType=select/cons_tres
            SelectTypeParameters=CR_Core_Memory
            MpiDefault=none
            SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
            SlurmdParameters=config_overrides
            # A busy machine may be slow to answer.
            SlurmdTimeout=600
            MessageTimeout=60
            BatchStartTimeout=300
            # A node that was down serves again as soon as it is back.
            ReturnToService=2
            KillWait=2
            GresTypes=gpu
            PartitionName=gpus {partition}
            PartitionName=all {partition}
            PreemptType=preempt/partition_prio
            PreemptMode=REQUEUE
            PartitionName=urgent {partition} PriorityTier=10
            {self._accounting(database) if self.accounting else NO_ACCOUNTING}
        """
        for node, port in zip(NODES, nodes, strict=True):
            address = f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port}"
            lines += f"\n{address} CPUs=2 RealMemory=64000 Gres=gpu:a100:{self.gpus}"
        _write_lines(self.folder / "slurm.conf", lines)
        # Any device files: nothing opens them.
        files = ",".join(("/dev/null", "/dev/zero")[: self.gpus])
        (self.folder / "gres.conf").write_text(f"Name=gpu Type=a100 File={files}\n")

    def _accounting(self, port: int) -> str:
        """Write the configuration of slurmdbd; what slurm.conf says of it."""
        file = self.folder / "slurmdbd.conf"
        user = getpass.getuser()
        _write_lines(
            file,
            f"""
            AuthType=auth/munge
            AuthInfo=socket={self.folder}/munge.socket
            DbdHost=localhost
            DbdPort={port}
            SlurmUser={user}
            LogFile={self.folder}/slurmdbd.log
            PidFile={self.folder}/slurmdbd.pid
            StorageType=accounting_storage/mysql
            StorageUser={user}
            """,
        )
        file.chmod(0o600)
        return f"""
            AccountingStorageType=accounting_storage/slurmdbd
            AccountingStorageHost=127.0.0.1
            AccountingStoragePort={port}
            AccountingStoragePass={self.folder}/munge.socket
            AccountingStorageEnforce=associations
            JobAcctGatherType=jobacct_gather/linux
            JobAcctGatherFrequency=task=1
        """

    def _start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name.split("@")[0], path=SEARCH_PATH)
        assert program is not None
        with open(self.folder / f"{name}.out", "ab") as output:
            self._daemons[name] = subprocess.Popen(
                [program, *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def start_node(self, node: str) -> None:
        """Start the daemon of a node."""
        self._start(f"slurmd@{node}", "-D", "-N", node)

    def start_database(self) -> None:
        """Start the daemon of accounting."""
        self._start("slurmdbd", "-D")

    def kill_database(self) -> None:
        """Kill the daemon of accounting: sacct fails from now on."""
        daemon = self._daemons.pop("slurmdbd")
        daemon.kill()
        daemon.wait()

    def _database_answers(self) -> bool:
        asked = ["sacctmgr", "list", "cluster"]
        return subprocess.run(asked, env=self.environment, capture_output=True, check=False).returncode == 0

    def kill_node(self, node: str) -> None:
        """What a power cut does: the node's daemon and everything that it runs are gone at once.

        Slurm is told, rather than left to notice after many seconds of silence.
        """
        daemon = self._daemons.pop(f"slurmd@{node}")
        jobs = self.command("squeue", "--noheader", f"--nodelist={node}", "--format=%A").split()
        daemon.kill()
        _kill_jobs(jobs)
        daemon.wait()
        self.command("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=power")

    def take_node(self, node: str) -> None:
        """Send an urgent job, of a second, that needs all GPUs of a node."""
        asked = ["--partition=urgent", f"--nodelist={node}", f"--gpus={self.gpus}", "--output=/dev/null"]
        self.command("sbatch", *asked, "--comment=urgent", "--wrap=sleep 1")

    def cancel(self, job: SlurmJob) -> None:
        """What a user does by hand."""
        self.command("scancel", job.number)

    def end_time(self, job: SlurmJob) -> None:
        """Let the time be over that the job asked for."""
        self.command("scontrol", "update", f"JobId={job.number}", "TimeLimit=0")

    def preempted(self) -> list[str]:
        """Numbers of the jobs that Slurm has put back into the queue for an urgent one."""
        log = (self.folder / "slurmctld.log").read_text()
        return re.findall(r"preempted JobId=(\d+) has been requeued", log)

    def node_states(self) -> dict[str, str]:
        """What sinfo says of each node: idle, mixed, down, ...; nothing while the controller is silent."""
        asked = ["sinfo", "--noheader", "--Node", "--format=%N %T"]
        shown = subprocess.run(asked, env=self.environment, capture_output=True, text=True, check=False)
        return dict(line.split() for line in shown.stdout.splitlines())

    def jobs(self) -> list[SlurmJob]:
        """All jobs that the cluster has seen, oldest first."""
        shown = ",".join(f"{field}:|" for field in FIELDS)
        lines = self.command("squeue", "--states=all", "--sort=i", "--noheader", f"--Format={shown}")
        return [SlurmJob(*line.split("|")[: len(FIELDS)]) for line in lines.splitlines()]

    def accounted(self, job: str, field: str) -> list[str]:
        """A column of what sacct says of every run of a job, or of a step of one, the first run first."""
        asked = ["sacct", "--duplicates", "--parsable2", "--noheader", f"--jobs={job}", f"--format={field}"]
        return self.command(*asked, *([] if "." in job else ["--allocations"])).splitlines()

    def command(self, *command: str) -> str:
        """What a Slurm command prints."""
        done = subprocess.run(command, env=self.environment, check=True, capture_output=True, text=True)
        return done.stdout

    def stop(self) -> None:
        """End the daemons and everything that they run."""
        jobs = self.jobs() if "slurmctld" in self._daemons else []
        for daemon in reversed(self._daemons.values()):
            daemon.terminate()
        for daemon in self._daemons.values():
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        _kill_jobs(job.number for job in jobs)


def _write_lines(path: Path, lines: str) -> None:
    path.write_text("".join(f"{line.strip()}\n" for line in lines.strip().splitlines()))


def job_processes(job: str, command: str = "") -> list[psutil.Process]:
    """The processes of a Slurm job whose command contains ``command``, its step daemons first."""
    daemons, processes = [], []
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # ended meanwhile, or another user's
            shown = " ".join(process.cmdline())
            if shown.startswith(f"slurmstepd: [{job}.") and command in shown:
                daemons.append(process)
            elif command in shown and process.environ().get("SLURM_JOB_ID") == job:
                processes.append(process)
    return [*daemons, *processes]


def _kill_jobs(jobs: Iterable[str]) -> None:
    for process in [process for job in jobs for process in job_processes(job)]:
        with suppress(psutil.NoSuchProcess):
            process.kill()
