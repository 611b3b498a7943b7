"""A module of Python in several processes on this machine, started and watched by torchrun."""

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

from rspose.grid.job import LastingError

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # torchrun's


def torchrun(module: str, arguments: object, processes: int, threads: int, terminal: TextIO) -> None:
    """Run ``module`` in several processes, as ``torchrun --standalone`` does, until all of them have ended.

    Each has CPU ``threads`` of its own and gets two arguments: the name of a file that holds ``arguments``,
    pickled, and that of a pipe whose lines go to ``terminal``. What they print goes where this process
    prints. If one fails, or this process is asked to end, the others are ended too. What one raised is known
    if torch's ``record`` is around its main function.

    Raises:
        RuntimeError: What went wrong in the process that failed first, in its words; LastingError stays one.
    """
    handlers = {each: signal.getsignal(each) for each in _SIGNALS}
    environment = dict(os.environ)
    received = None
    try:
        packages = filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH")))
        os.environ.update(OMP_NUM_THREADS=str(threads), PYTHONPATH=os.pathsep.join(packages))
        with (
            TemporaryDirectory(prefix="rspose_") as folder,
            _pipe_to(terminal, Path(folder, "terminal")) as pipe,
        ):
            file = Path(folder, "arguments")
            file.write_bytes(pickle.dumps(arguments))
            command = ["--standalone", "--local-addr=127.0.0.1", f"--log-dir={folder}"]
            command += [f"--nproc-per-node={processes}", "--module", module, str(file), str(pipe)]
            try:
                run(parse_args(command))
            except ChildFailedError as error:
                raise _cause(error, processes) from error
    except SignalException as error:
        received = error.sigval
    finally:
        os.environ.clear()
        os.environ.update(environment)
        for each, handler in handlers.items():
            signal.signal(each, handler)
    if received is not None:
        signal.raise_signal(received)  # as if it had never been caught


def _cause(error: ChildFailedError, processes: int) -> RuntimeError:
    # A process that fails takes others with it: they lose a connection, or are told to end.
    def order(failure: ProcessFailure) -> tuple[int, float]:
        if isinstance(failure.message, dict):  # what it raised; torch's time is in whole seconds
            return 1, Path(failure.error_file).stat().st_mtime
        told = failure.exitcode in (-signal.SIGTERM, -signal.SIGABRT)
        return 2 if told else 0, failure.timestamp

    rank, failure = min(error.failures.items(), key=lambda item: order(item[1]))
    said: object = failure.message
    if isinstance(said, dict):
        name, _, message = str(said["message"]).partition(": ")
        kinds = {each.__name__: each for each in (RuntimeError, LastingError)}
        return kinds[name](message) if name in kinds else RuntimeError(said["message"])
    how = f"was killed ({failure.signal_name()})" if failure.exitcode < 0 else f"exited ({failure.exitcode})"
    return RuntimeError(f"process {rank + 1} of {processes} {how}")


@contextmanager
def _pipe_to(terminal: TextIO, path: Path) -> Iterator[Path]:
    # A named pipe, since torchrun's processes inherit no file but their output.
    os.mkfifo(path)
    reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(path, os.O_WRONLY)  # so that it ends here, not with the first process that closes it
    os.set_blocking(reading, True)

    def pass_on() -> None:
        with open(reading) as lines:
            for line in lines:
                terminal.write(line)
                terminal.flush()

    thread = threading.Thread(target=pass_on, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        os.close(writing)
        thread.join()
