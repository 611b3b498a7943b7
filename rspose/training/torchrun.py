"""A module of Python in several processes on this machine, started and watched by torchrun."""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TextIO

from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # torchrun's


def torchrun(
    module: str,
    arguments: str,
    processes: int,
    threads: int,
    terminal: TextIO,
    errors: Sequence[type[RuntimeError]] = (),
) -> None:
    """Run ``module`` in several processes, as ``torchrun --standalone`` does, until all of them have ended.

    Each gets two arguments, the names of a file that holds ``arguments``, and of a file (a pipe) whose lines
    go to ``terminal``. What they print goes where this process prints. If one fails, or this process is asked
    to end, the others are ended too.

    Args:
        module: A module that is run as ``python -m`` runs it, its main function under torch's ``record``.
        arguments: What all of the processes are told.
        processes: How many.
        threads: CPU threads of each.
        terminal: Where they report progress.
        errors: Types that are raised here as they were raised in a process.

    Raises:
        RuntimeError: What went wrong in the process that failed first, in its words; or that it was killed.
    """
    handlers = {each: signal.getsignal(each) for each in _SIGNALS}
    received = None
    try:
        with (
            TemporaryDirectory(prefix="rspose_") as folder,
            _pipe_to(terminal, Path(folder, "terminal")) as pipe,
            _environment(OMP_NUM_THREADS=str(threads), PYTHONPATH=_with_this_package()),
        ):
            file = Path(folder, "arguments")
            file.write_text(arguments)
            command = ["--standalone", "--local-addr=127.0.0.1", f"--log-dir={folder}"]
            command += [f"--nproc-per-node={processes}", "--module", module, str(file), str(pipe)]
            try:
                run(parse_args(command))
            except ChildFailedError as error:
                raise _cause(error, processes, errors) from error
    except SignalException as error:
        received = error.sigval
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    if received is not None:
        signal.raise_signal(received)  # as if it had never been caught


def _cause(error: ChildFailedError, processes: int, errors: Sequence[type[RuntimeError]]) -> RuntimeError:
    # A process that fails takes others with it: they lose a connection, or are told to end.
    def order(failure: ProcessFailure) -> tuple[int, float]:
        if isinstance(failure.message, dict):  # what it raised; torch's time is in whole seconds
            return 1, Path(failure.error_file).stat().st_mtime
        told = failure.exitcode in (-signal.SIGTERM, -signal.SIGABRT)
        return 2 if told else 0, failure.timestamp

    rank, failure = min(error.failures.items(), key=lambda item: order(item[1]))
    said: object = failure.message
    if isinstance(said, dict):
        message = str(said["message"])
        kinds: list[type[RuntimeError]] = [RuntimeError, *errors]
        for each in kinds:
            if message.startswith(f"{each.__name__}: "):
                return each(message.removeprefix(f"{each.__name__}: "))
        return RuntimeError(message)
    how = f"was killed ({failure.signal_name()})" if failure.exitcode < 0 else f"exited ({failure.exitcode})"
    return RuntimeError(f"process {rank + 1} of {processes} {how}")


def _with_this_package() -> str:
    package = str(Path(__file__).parents[2])
    return os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _pipe_to(terminal: TextIO, path: Path) -> Iterator[Path]:
    """A named pipe at ``path``, since torchrun's processes inherit no file but their output."""
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
