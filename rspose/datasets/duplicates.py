"""Pictures that are nearly the same, by a hash of the whole frame: a crop of a larger frame is not found."""

from collections.abc import Iterator, Mapping

import numpy as np
from PIL import Image

from rspose.datasets.validation import more

_SIDE = 16
# Of the 256 bits of a hash; on the photographs of LSP and LSPET, up to here all pairs are the same scene.
_MOST_BITS = 36
# Among more pictures than these only pairs with one of val are looked for: all would take minutes.
_MOST_PICTURES = 20_000


def difference_hash(picture: Image.Image) -> np.ndarray:
    """Whether each of 16 x 16 cells is brighter than its left neighbour, as bits, uint64 ``[4]``."""
    cells = picture.convert("L").resize((_SIDE + 1, _SIDE), Image.Resampling.BOX)
    brightness = np.asarray(cells, dtype=np.int16)
    return np.packbits(brightness[:, 1:] > brightness[:, :-1]).view(np.uint64)


def near_duplicates(hashes: Mapping[str, Mapping[str, np.ndarray]]) -> Iterator[str]:
    """A line for each two splits with pairs of pictures that are nearly the same.

    Args:
        hashes: Of the pictures of ``train`` and ``val``, by name.
    """
    train, val = hashes["train"], hashes["val"]
    pairs = [("val", "train"), ("val", "val")]
    if len(train) <= _MOST_PICTURES:
        pairs.append(("train", "train"))
    for first, second in pairs:
        found = [
            (one, other)
            for one, other in _alike(hashes[first], hashes[second])
            if one != other and (first != second or one < other) and not (one in train and one in val)
        ]
        if found:
            one, other = found[0]
            yield (
                f"{one} ({first}) and {other} ({second}) are nearly the same picture{more(len(found) - 1)}"
            )


def _alike(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    names, others = list(first), list(second)
    if not names or not others:
        return
    ours, theirs = np.stack(list(first.values())), np.stack(list(second.values()))
    for start in range(0, len(ours), 256):
        chunk = ours[start : start + 256]
        bits = np.zeros((len(chunk), len(theirs)), dtype=np.uint16)
        for word in range(ours.shape[1]):
            bits += np.bitwise_count(chunk[:, None, word] ^ theirs[None, :, word])
        for one, other in np.argwhere(bits <= _MOST_BITS).tolist():
            yield names[start + one], others[other]
