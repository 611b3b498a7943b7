"""Snakemake's Slurm plugin, mended where version 2.8.0 loses sight of jobs or says nothing of their end.

As it is, it waits for ever for a job that was cancelled (sacct says ``CANCELLED by 1000``), and for all jobs
if Slurm does not answer five times in a row, within a second where the connection is refused. And with
`quiet: rules` it does not say that a job failed, which on one machine the job itself says.
"""

import logging
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any

import snakemake_executor_plugin_slurm as plugin

from rspose.grid.config import only_planned

_PREFIX = "RSPOSE_SLURM_"
_SITE = ("PARTITION", "CPU_PARTITION", "ACCOUNT", "GPU", "HOURS", "MAX_HOURS", "EXTRA")
_KNOWN = [_PREFIX + each for each in _SITE]


def require_slurm(arguments: Sequence[str]) -> None:
    """End with one line where jobs cannot be sent: before the graph of a large grid is made, not after."""
    unknown = {name for name in os.environ if name.startswith(_PREFIX)}.difference(_KNOWN)
    if unknown:
        sys.exit(f"error: {min(unknown)}: expected one of {', '.join(_KNOWN)}")
    trainings, others = _KNOWN[:2]
    if others in os.environ and trainings not in os.environ:
        sys.exit(f"error: {others}: expected {trainings} beside it, for trainings; found none")
    if shutil.which("sbatch") is None and not only_planned(arguments) and "SLURM_JOB_ID" not in os.environ:
        sys.exit(
            "error: --profile slurm: expected Slurm's sbatch on this machine, found none; "
            "run it on a login node of the cluster, or without the profile"
        )


def mend_plugin() -> None:
    """Make it understand sacct, wait while Slurm is silent, and report jobs that fail. To be called once."""
    query, print_job_error = plugin.query_job_status, plugin.Executor.print_job_error
    silent = False

    async def query_job_status(command: str, logger: logging.Logger) -> tuple[dict[str, str], float]:
        nonlocal silent
        states, seconds = await query(command, logger)
        if silent != (states is None):
            silent = states is None
            logger.warning("Slurm does not answer; asked again later." if silent else "Slurm answers again.")
        # A job without a state is taken to wait or to run.
        return {job: state.split()[0] for job, state in (states or {}).items()}, seconds or 0.0

    def report_job_error(executor: Any, job_info: Any, msg: str | None = None, **details: Any) -> None:
        job = job_info.job
        executor.logger.error(f"{job.name} failed: {msg} (log: {', '.join(job.log)})")
        print_job_error(executor, job_info, msg, **details)

    plugin.query_job_status = query_job_status
    plugin.Executor.print_job_error = report_job_error
