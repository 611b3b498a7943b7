"""How far a command is: a bar on a terminal; where there is none (a log, CI, Slurm) a line now and then."""

import sys
import time
from collections.abc import Callable

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30


def progress(unit: str) -> Callable[[int, int], None]:
    """A function to be called with what is done and all that is to do, both in ``unit``."""
    if sys.stderr.isatty():
        bar = tqdm(unit=f" {unit}", dynamic_ncols=True)

        def draw(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)
            if done == total:
                bar.close()

        return draw
    said = time.monotonic()

    def say(done: int, total: int) -> None:
        nonlocal said
        if done == total or time.monotonic() - said > SECONDS_BETWEEN_LINES:
            said = time.monotonic()
            print(f"{done}/{total} {unit}", file=sys.stderr, flush=True)

    return say
