"""One of the processes that train a cell together, each with a device and a part of every batch."""

import ctypes
import os
import pickle
import signal
import sys
import traceback
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

from rspose.training.train import Training

_PR_SET_PDEATHSIG = 1  # of prctl(2)


@record
def main() -> None:
    """Take part in a training, as :func:`rspose.training.torchrun.torchrun` starts it."""
    # A process that outlived torchrun would go on writing checkpoints, beside the next attempt.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    training: Training
    training, previous = pickle.loads(Path(sys.argv[1]).read_bytes())
    on_gpu = training.config.training_of(training.cell).device != "cpu" and torch.cuda.is_available()
    if on_gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if on_gpu else "gloo")
    with open(sys.argv[2], "w", buffering=1) as terminal:
        training.run(previous, terminal)
    dist.barrier()  # the first one has more to write


if __name__ == "__main__":
    status = 0
    try:
        main()
    except Exception:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # A process group can abort a process that ends as usual, or hold it up for peers that are gone.
    os._exit(status)
