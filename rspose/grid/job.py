"""The frame around each job of the workflow: its log, its terminal, its errors, its attempts."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from rspose.grid.cell import Cell
from rspose.grid.config import GridConfig
from rspose.grid.files import remove_unfinished
from rspose.grid.lock import claim_gpus
from rspose.grid.record import Failure, RecordError, failure_note, write_failure

_SAYS_NOTHING = ("Trying to restart job", "Select jobs to execute", "Execute ")
_KILLED = "killed, or ended by a limit of time or memory, in an attempt that said nothing"


class LastingError(RuntimeError):
    """What another attempt would meet again: the job is not tried any more."""


def config_of(snakemake: Any) -> GridConfig:
    """The config of the grid that a job is of; the Snakefile has checked it."""
    return GridConfig.model_validate(snakemake.config)


def tells_more(record: logging.LogRecord) -> bool:
    """Whether a line of Snakemake's log says more than its jobs, which say themselves why one failed.

    It announces every attempt of a rule, also one that ends at once since it would fail as before, and each
    time that it looks for the next jobs.
    """
    said = record.getMessage()
    failed = getattr(record, "exception", None) == "RuleException" and "non-zero exit status 1." in said
    return not (failed or said.startswith(_SAYS_NOTHING))


@contextmanager
def job(snakemake: Any) -> Iterator[TextIO]:
    """Send all output of a job to its log, and yield the terminal for progress.

    An error ends the job with one line on the terminal; the traceback is in the log. If it was a cell's, or
    one in the tuning of its loss, a note beside the place of its record says so to the tables. What an
    earlier attempt that was killed left half-written is removed, and the note that it could not write is
    written. The resource ``attempt`` of ``snakemake``, the object that a script is handed, says which attempt
    it is.
    """
    config = config_of(snakemake)
    if config.training.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch and mmengine look for a GPU
    for output in snakemake.output:
        remove_unfinished(Path(output))
    log = Path(snakemake.log[0])
    terminal = os.fdopen(os.dup(2), "w", buffering=1)
    cell, tuning = _cell_of(snakemake, config)
    if getattr(snakemake.resources, "gpu", 0):
        trains = cell is not None and snakemake.rule in ("train", "trial")
        number = config.training_of(cell).devices if cell is not None and trains else 1
        claim_gpus(number, config.cells_per_gpu, config.results / "work/gpus")
    note = None if cell is None else failure_note(config, cell, tuning)
    with _continued(log) as stream:
        if cell is not None and note is not None:
            _look_back(snakemake, cell, note, terminal)
        # At the level of file descriptors: output of compiled code is caught too.
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
        sys.stdout = sys.stderr = stream
        logging.captureWarnings(True)
        try:
            yield terminal
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
            # First, since the disk may be full.
            print(f"{snakemake.rule} failed: {message} (log: {log})", file=terminal, flush=True)
            with suppress(OSError):
                traceback.print_exc()
                stream.flush()
            if cell is not None and note is not None:
                with suppress(OSError):
                    of = f" (tuning: {tuning})" if tuning else ""
                    write_failure(note, cell, snakemake.rule, message + of, log)
            os._exit(1)
        if note is not None:
            note.unlink(missing_ok=True)  # of an attempt before


def _cell_of(snakemake: Any, config: GridConfig) -> tuple[Cell | None, str]:
    """The cell that a job is of, and which step of the tuning it is: then the first cell of the loss."""
    named = snakemake.wildcards
    known = set(named.keys())
    if "loss" not in known:
        return None, ""
    if "seed" in known:
        return Cell.of(named), ""
    cell = Cell(named.dataset, named.model, named.head, named.loss, config.seeds[0], config.lengths[0])
    return cell, f"trial{named.trial}" if "trial" in known else snakemake.rule


def _look_back(snakemake: Any, cell: Cell, note: Path, terminal: TextIO) -> None:
    """End the job if the attempt before failed for good; note it if that attempt was killed."""
    if getattr(snakemake.resources, "attempt", 1) == 1:
        note.unlink(missing_ok=True)  # of an earlier run
        return
    if not note.exists():
        write_failure(note, cell, snakemake.rule, _KILLED, Path(snakemake.log[0]))
    with suppress(RecordError):
        error = Failure.read(note, note.read_bytes()).error
        # A training may be luckier the next time; another step fails again unless it was killed.
        if error.startswith(f"{LastingError.__name__}:") or not (
            snakemake.rule in ("train", "trial") or error.startswith(_KILLED)
        ):
            os._exit(1)
        print(f"{snakemake.rule} of {cell} is tried again: {error}", file=terminal, flush=True)


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
