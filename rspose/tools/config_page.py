"""config/README.md, and config/schema.json for editors, made from the models of the config."""

import json
from collections.abc import Iterator
from typing import Any

from rspose.grid.config import GridConfig

_INTRODUCTION = """# Configuration

<!-- Made by `make docs` from the models in rspose/grid/config.py: edit those. -->

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
`snakemake --config losses=[mse,rspose] seeds=[0,1]` changes single keys of the default one, and
`snakemake --config training='{epochs: 2}'` a key within another: what is not named there stays. A config
is checked before anything runs. Names (of models, losses, variants, the grid) become folders: letters,
digits and `._+-`, the first one no dot and no dash.

[schema.json](schema.json) lets an editor complete keys and underline mistakes. For VS Code's YAML extension,
let the config's first line be `# yaml-language-server: $schema=schema.json`, a path from the config to it.

| key | type | default | meaning |
| --- | --- | --- | --- |
"""


def page() -> str:
    """The page as Markdown: one row a key."""
    schema = _models()
    return _INTRODUCTION + "\n".join(_rows(schema, "", schema["$defs"])) + "\n"


def schema() -> str:
    """The JSON schema for editors. Nothing is required: a config may extend another."""
    schema = _models()
    models = schema["$defs"]
    change = {key: value for key, value in models["Training"]["properties"].items() if key != "device"}
    models["TrainingChange"] = {**models["Training"], "properties": change, "title": "TrainingChange"}
    for model in (schema, *models.values()):
        model.pop("required", None)
    model = models["ModelSettings"]["properties"]
    model["training"]["$ref"] = "#/$defs/TrainingChange"
    model["dataset_training"]["additionalProperties"] = {"$ref": "#/$defs/TrainingChange"}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def _models() -> dict[str, Any]:
    """The JSON schema of a config that is complete."""
    schema = GridConfig.model_json_schema()
    del schema["properties"]["given"]
    return schema


def _rows(schema: dict[str, Any], prefix: str, models: dict[str, Any]) -> Iterator[str]:
    for key, value in schema["properties"].items():
        name = f"{prefix}{key}"
        default = "required" if key in schema.get("required", []) else value.get("default")
        shown = f"`{json.dumps(default)}`" if default not in (None, "required", {}) else default or ""
        yield f"| `{name}` | {_type(value, models)} | {shown} | {' '.join(value['description'].split())} |"
        for each in value.get("anyOf", [value]):
            nested, inner = each.get("additionalProperties", each), name
            if nested is not each and isinstance(nested, dict):
                names = nested and each.get("propertyNames", {}).get("enum", ["name"])
                inner = f"{name}.<{'&#124;'.join(names)}>"
            if isinstance(nested, dict) and "$ref" in nested:
                yield from _rows(_resolved(nested, models), f"{inner}.", models)


def _resolved(schema: dict[str, Any], models: dict[str, Any]) -> dict[str, Any]:
    return models[schema["$ref"].rsplit("/", 1)[-1]] if "$ref" in schema else schema


def _type(schema: dict[str, Any], models: dict[str, Any]) -> str:
    if several := schema.get("anyOf", schema.get("oneOf")):
        return ", ".join(dict.fromkeys(_type(each, models) for each in several if each.get("type") != "null"))
    schema = _resolved(schema, models)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'], models)}"
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    return {"object": "mapping", "string": "text", "boolean": "true, false"}.get(
        schema["type"], schema["type"]
    ) + (f" from {low} to {high}" if low is not None and high is not None else "")
