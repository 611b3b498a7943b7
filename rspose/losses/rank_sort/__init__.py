"""The ranking operator of Rank & Sort Loss, fast, and AP loss on it."""

from rspose.losses.rank_sort.operator import ap_loss, rank_sort

__all__ = ["ap_loss", "rank_sort"]
