"""Fields that configs and records share, and what is wrong with a field, in words."""

import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import PydanticCustomError

_EXPECTED = {
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    **dict.fromkeys(("string_type", "path_type"), "a text"),
    **dict.fromkeys(("dict_type", "model_type"), "a mapping"),
}


def expecting(expected: str, is_right: Callable[[Any], object], before: bool = False) -> Any:
    """A validator, after or before that of the type; ``expected`` says what ``is_right`` accepts."""

    def check(value: Any) -> Any:
        if not is_right(value):
            raise PydanticCustomError("expected", expected)
        return value

    return BeforeValidator(check) if before else AfterValidator(check)


_NAME = "a name: at most 100 letters, digits, . _ + -, the first of them no . or -"
Name = Annotated[str, expecting(_NAME, re.compile("[A-Za-z0-9_+][A-Za-z0-9._+-]{0,99}").fullmatch)]
"""What may be called a dataset, model, head or loss: names become folders and parts of commands."""
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Length = Annotated[float, Field(ge=0.01, le=100), AfterValidator(lambda length: float(f"{length:g}"))]
"""How long a training is: a factor on the epochs of the recipe, to the six digits that paths have."""


def first_mistake(error: ValidationError, content: Any) -> tuple[list[str], str, str, Any]:
    """Of the first mistake in ``content`` its keys, pydantic's name for it, what was expected, and found."""
    first = error.errors(include_url=False)[0]
    kind, location, expected = first["type"], first["loc"], first["msg"]
    keys = []
    for part in location:  # some parts are pydantic's own
        inside = dict(enumerate(content)) if isinstance(content, list) else content
        if isinstance(inside, dict) and part in inside:
            content = inside[part]
            keys.append(str(part))
    match kind:
        case "missing" | "missing_argument":
            kind, expected = "missing", str(location[-1])
        case "value_error":
            expected = str(first["ctx"]["error"])
        case "literal_error":
            keys = keys[:-1] if location[-1] == "[key]" else keys
            allowed = first["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
            expected = f"one of {allowed}"
        case _:
            expected = re.sub(r"^\w+ should (be |have )?| after validation.*", "", expected)
            expected = _EXPECTED.get(kind, expected)
    return keys, kind, expected, first["input"]
