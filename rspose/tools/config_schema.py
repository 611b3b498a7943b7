"""config/schema.json, made from the models of the config, so that editors complete its keys."""

import json
from pathlib import Path
from typing import Any

from rspose.grid.config import GridConfig

PAGE = Path(__file__).parents[2] / "config" / "schema.json"


def page() -> str:
    """The JSON schema for editors. Nothing is required: a config may extend another."""
    schema = models_schema()
    models = schema["$defs"]
    change = {key: value for key, value in models["Training"]["properties"].items() if key != "device"}
    models["TrainingChange"] = {**models["Training"], "properties": change, "title": "TrainingChange"}
    for model in (schema, *models.values()):
        model.pop("required", None)
    model = models["ModelSettings"]["properties"]
    model["training"]["$ref"] = "#/$defs/TrainingChange"
    model["dataset_training"]["additionalProperties"] = {"$ref": "#/$defs/TrainingChange"}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def models_schema() -> dict[str, Any]:
    """The JSON schema of a config that is complete."""
    schema = GridConfig.model_json_schema()
    del schema["properties"]["given"]
    return schema
