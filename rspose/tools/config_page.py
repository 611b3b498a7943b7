"""config/README.md, made from the schema so that it cannot drift from it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rspose.grid.config import load_schema

PAGE = Path(__file__).parents[2] / "config" / "README.md"

_INTRODUCTION = """# Configuration

<!-- Made by `make docs` from workflow/schemas/config.schema.yaml: edit the schema. -->

| config | grid |
| --- | --- |
| [demo.yaml](demo.yaml) | the default: six losses, two heads, three generated datasets |
| [samples.yaml](samples.yaml) | the same grid and whole-body pose, a few steps a cell, on a few real images |
| [paper.yaml](paper.yaml) | the papers' models on the real datasets, as they were published; for a cluster |
| [study.yaml](study.yaml) | every loss and the parts of RSPose on generated COCO, five seeds |
| [ablation_rspose.yaml](ablation_rspose.yaml) | RSPose's parts, delta, threshold and weights; three seeds |
| [ablation_dm.yaml](ablation_dm.yaml) | DM: naive or sub-pixel demanders, closed form; three seeds |
| [paper_wholebody.yaml](paper_wholebody.yaml) | FoWKAL's Tables 2 and 3 on the real COCO-WholeBody |
| [ablation_fowkal.yaml](ablation_fowkal.yaml) | FoWKAL's Tables 2 and 3 on generated COCO-WholeBody |

`snakemake --configfile config/samples.yaml` runs another config;
`snakemake --config losses=[mse,rspose] seeds=[0,1]` changes single keys of the default one. A config is
checked before anything runs.

| key | type | default | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown: one row per key of the schema."""
    return _INTRODUCTION + "\n".join(_rows(load_schema(), "")) + "\n"


def _rows(schema: dict[str, Any], prefix: str) -> Iterator[str]:
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        name = f"{prefix}{key}"
        yield f"| `{name}` | {_type(value)} | {_default(value, key in required)} | {_text(value)} |"
        yield from _rows(value, f"{name}.")
    nested = schema.get("additionalProperties")
    if isinstance(nested, dict):
        names = schema.get("propertyNames", {}).get("enum")
        placeholder = "<" + ("name" if names is None else "&#124;".join(names)) + ">"
        if nested.get("properties"):
            yield from _rows(nested, f"{prefix}{placeholder}.")


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "")
    if isinstance(kind, list):
        return ", ".join(_type({**schema, "type": each}) for each in kind)
    if kind == "array":
        return f"list of {_type(schema['items'])}"
    return {"object": "mapping"}.get(kind, kind)


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    return f"`{schema['default']}`" if "default" in schema else ""


def _text(schema: dict[str, Any]) -> str:
    return " ".join(schema.get("description", "").split())
