"""The keys in config/README.md, and config/schema.json for editors, made from the models of the config."""

import json
from collections.abc import Iterator
from typing import Any

from rspose.grid.config import GridConfig


def page() -> str:
    """A Markdown table of the keys."""
    schema = _models()
    header = "| key | type | default | meaning |\n| --- | --- | --- | --- |"
    return "\n".join([header, *_rows(schema, "", schema["$defs"])]) + "\n"


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
        kinds = [each for each in several if each.get("type") != "null"]
        match kinds:
            case [{"type": "array", "items": item}, one] if item == one:
                return f"{_type(one, models)}; or a list of these"
        return ", ".join(dict.fromkeys(_type(each, models) for each in kinds))
    schema = _resolved(schema, models)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema["type"] == "array":
        return f"list of {_type(schema['items'], models)}"
    low, high = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    return {"object": "mapping", "string": "text", "boolean": "true, false"}.get(
        schema["type"], schema["type"]
    ) + (f" from {low} to {high}" if low is not None and high is not None else "")
