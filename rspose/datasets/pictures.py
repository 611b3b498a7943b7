"""What the header of a picture says, without decoding it."""

from pathlib import Path

from PIL import Image, UnidentifiedImageError

_ORIENTATION = 0x0112
_LYING = (5, 6, 7, 8)


def turned_size(path: Path) -> tuple[int, int, int] | str | None:
    """Width, height and EXIF orientation of a picture, turned as loaders turn it.

    A text for what is there instead of a picture; None for no file.
    """
    if not path.is_file():
        return None
    try:
        with Image.open(path) as image:
            orientation = image.getexif().get(_ORIENTATION, 1)
            width, height = image.size
    except UnidentifiedImageError:
        return "something else" if path.stat().st_size else "an empty file"
    except OSError as error:
        return str(error)
    return (height, width, orientation) if orientation in _LYING else (width, height, orientation)
