"""How far something is and how long it takes, in words: bars on terminals; elsewhere a line now and then."""

import sys
import time
from collections.abc import Callable

SECONDS_BETWEEN_LINES = 30


def duration(seconds: float) -> str:
    """Seconds as ``42 s``, ``3 min 20 s`` or ``2 h 5 min``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def progress(unit: str) -> Callable[[int, int], None]:
    """A function to be called with what is done and all that is to do, both in ``unit``."""
    if sys.stderr.isatty():
        from tqdm import tqdm  # where there is no terminal, as in a job, it need not be installed

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
