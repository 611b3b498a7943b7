"""Old names, for the modules that still use them."""

from rspose.datasets.interface import Release as Release
from rspose.datasets.interface import SplitCounts as SplitCounts
from rspose.datasets.registry import DATASETS

RELEASES = {name: each.release for name, each in DATASETS.items()}
