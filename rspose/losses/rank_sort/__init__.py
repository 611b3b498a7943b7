"""The ranking operator of Rank & Sort Loss, fast, and AP loss on it."""

from rspose.losses.rank_sort.ap_loss import ap_loss
from rspose.losses.rank_sort.operator import rank_sort

__all__ = ["ap_loss", "rank_sort"]
