"""The frame around each job of the workflow: its log, its terminal, its errors."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TextIO

from rspose.experiment.cell import Cell
from rspose.experiment.files import remove_unfinished
from rspose.experiment.record import write_failure

_CELL_WILDCARDS = [field.name for field in fields(Cell)]


@contextmanager
def job(snakemake: Any) -> Iterator[TextIO]:
    """Send all output of a job to its log, and yield the terminal for progress.

    An error ends the job with one line on the terminal; the traceback is in the log. If it was a cell's, a
    note beside the place of its record says so to the tables. What an earlier attempt that was killed left
    half-written is removed.

    Args:
        snakemake: The object that Snakemake hands to a script.
    """
    if snakemake.config["training"]["device"] == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch and mmengine look for a GPU
    for output in snakemake.output:
        remove_unfinished(Path(output))
    log = Path(snakemake.log[0])
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    with _continued(log) as stream:
        # At the level of file descriptors: output of compiled code is caught too.
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        logging.captureWarnings(True)
        try:
            yield terminal
        except Exception as error:
            traceback.print_exc()
            if set(_CELL_WILDCARDS) <= set(snakemake.wildcards.keys()):
                write_failure(snakemake.config, Cell.of(snakemake.wildcards), snakemake.rule, error, log)
            print(f"{snakemake.rule} failed: {type(error).__name__}: {error} (log: {log})", file=terminal)
            terminal.flush()
            stream.flush()
            os._exit(1)


@contextmanager
def _continued(log: Path) -> Iterator[TextIO]:
    """Open a log that goes on where the attempt before ended, until one succeeds.

    Snakemake removes a job's log before every attempt: until then it is a link to a file beside it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    unfinished = log.with_name(f".{log.name}")
    log.unlink(missing_ok=True)
    log.symlink_to(unfinished.name)
    with open(unfinished, "a", buffering=1) as stream:
        yield stream
    unfinished.replace(log)
