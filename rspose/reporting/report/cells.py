"""What the report says of a cell: its numbers, how they came about, and how to make them again."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from rspose.grid.progress import duration
from rspose.grid.record import Failure, Record
from rspose.reporting.difference_tables import gain, p_value
from rspose.reporting.published import verdict
from rspose.reporting.results import Results
from rspose.reporting.statistics import REFERENCE, CellKey
from rspose.reporting.style import dataset_title, head_label
from rspose.reporting.table import DAGGER, Column, Value, entry_text

_PERCENT, _CORRELATION = Column("", ""), Column("", "", 1, 2)
_LEVELS = {
    "keypoint": "keypoints",
    "pose": "poses",
    "keypoint_on_detections": "keypoints, on detections",
    "pose_on_truth": "poses, on ground-truth boxes",
    "within_types": "keypoints, within a type",
    "between_types": "keypoint types, by their means",
    "type_constants": "keypoints, with one constant a type",
}
_CORRELATIONS = {"spearman": "Spearman's ρ", "kendall": "Kendall's τ", "pearson": "Pearson's r"}

# The words before a fact, by its group and key, and how it is written; what is not here goes by its key.
_WRITTEN: dict[tuple[str, str], tuple[str, Callable[[Any], str]]] = {
    ("Training", "seconds"): ("wall time", lambda value: duration(value)),
    ("Training", "seconds_per_iteration"): ("time of a step", lambda value: f"{1000 * value:.0f} ms"),
    ("Training", "peak_memory_mb"): ("peak memory", lambda value: f"{value:,.0f} MB"),
    ("Training", "pretrained"): ("pretrained weights", lambda value: _loaded(value)),
    ("Provenance", "config_sha256"): ("SHA-256 of the config", str),
    ("Provenance", "code_sha256"): ("SHA-256 of the code", str),
    ("Provenance", "training_sha256"): ("SHA-256 of the training's settings", str),
    ("Provenance", "git_commit"): ("commit", str),
    ("Data", "checksum"): ("SHA-256 of the data", str),
    ("Data", "generated"): ("kind of data", lambda value: "generated data" if value else "real data"),
}


def cell_details(results: Results) -> dict[str, dict[str, Any]]:
    """All that the report says of each cell, by ``dataset/model/head/loss``.

    Numbers are words, rounded as in the tables. What the seeds share is said once.
    """
    compared = {tuple(one[:4]): one for one in results.differences.itertuples(index=False)}
    failed: dict[CellKey, list[Failure]] = {}
    for failure in results.failures:
        failed.setdefault(failure.cell[:4], []).append(failure)
    keys = dict.fromkeys([*results.cells, *failed])
    return {
        "/".join(key): {
            **_named(results, key),
            **_of_records(results, key, results.cells.get(key, [])),
            "differences": _difference(compared.get(key)),
            "claims": _claims(results, key),
            "failures": [
                {"seed": each.cell.seed, "rule": each.rule, "error": each.error, "file": each.path.name}
                for each in failed.get(key, [])
            ],
        }
        for key in keys
    }


def rerun_command(
    grid: str,
    cell: Sequence[str],
    seeds: Sequence[int],
    control: bool,
    given: Mapping[str, Any] | None = None,
    length: float = 1.0,
) -> str:
    """The command that makes a cell again, run in the repository; nobody trains a control.

    ``given`` is what the grid was run from; older records do not say it: ``config/<grid>.yaml``, then.
    """
    if not (given and given["files"]):
        given = {"files": [f"config/{grid}.yaml"], "directory": None, "changes": []}
    dataset, model, head, loss = cell
    place = ["--directory", given["directory"]] if given["directory"] else []
    chosen = [*given["changes"], f"datasets={dataset}"]
    if control:
        steps = ["--forcerun", "control", "--until", "control"]
    else:
        listed = str(seeds[0]) if len(seeds) == 1 else f"[{','.join(map(str, seeds))}]"
        chosen += [f"models={model}", f"heads={head}", f"losses={loss}", f"seeds={listed}"]
        chosen += [f"lengths=[{length:g}]"]
        steps = ["--forcerun", "train", "--until", "record"]
    return shlex.join(["snakemake", *place, "--configfile", *given["files"], "--config", *chosen, *steps])


def _named(results: Results, key: CellKey) -> dict[str, Any]:
    dataset, model, head, loss = key
    control = model == "control"
    return {
        "title": results.labels[loss],
        "place": [dataset_title(dataset), *([] if control else [head_label(head), model])],
        "dataset": dataset,
        "loss": loss,
        "control": control,
        "reconstruction": results.labels[loss].endswith(DAGGER),
    }


def _of_records(results: Results, key: CellKey, records: Sequence[Record]) -> dict[str, Any]:
    records = sorted(records, key=lambda record: record.cell.seed)
    seeds_of: dict[str, list[int]] = {}  # by the grid and what it was run from, as text
    for record in records:
        if record.grid:
            made_by = json.dumps([record.grid, record.content.get("config")])
            seeds_of.setdefault(made_by, []).append(record.cell.seed)
    return {
        "seeds": [record.cell.seed for record in records],
        "generated": all(record.data.generated for record in records) if records else None,
        "scores": _scores(results, key, records),
        "curve": any(record.training and record.training.curve for record in records),
        "facts": _facts([record.content for record in records]),
        "commands": [
            rerun_command(grid, key, seeds, records[0].control, given, records[0].cell.length)
            for made_by, seeds in seeds_of.items()
            for grid, given in [json.loads(made_by)]
        ],
    }


def _scores(results: Results, key: CellKey, records: Sequence[Record]) -> dict[str, list[dict[str, Any]]]:
    """By group, a line a score: its name, over all seeds, and of each seed with its interval over images."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for name in dict.fromkeys(name for record in records for name in record.scores):
        value = results.values.get((*key, name))
        if value is None:
            continue
        group, label, column = _score_label(results, key[0], name)
        of_seeds = []
        for record in records:
            score = record.scores.get(name)
            entry = None if score is None else Value(score, interval=record.interval(name))
            of_seeds.append(entry_text(entry, column))
        line = {"name": label, "all": entry_text(value, column), "seeds": of_seeds}
        lines.setdefault(group, []).append(line)
    return lines


def _score_label(results: Results, dataset: str, name: str) -> tuple[str, str, Column]:
    kind, _, rest = name.partition(".")
    if kind == "metrics":
        return "Accuracy (%)", results.metrics(dataset).get(rest, rest), _PERCENT
    if rest.startswith("calibrated."):
        fit, label = rest.removeprefix("calibrated.").replace("_", " ").split(".")
        column = _CORRELATION if label.endswith("spearman") else _PERCENT
        return f"Calibrated, {fit}", label, column
    if kind == "confidence":
        level, _, correlation = rest.partition(".")
        return "Confidence against quality", f"{_CORRELATIONS[correlation]}, {_LEVELS[level]}", _CORRELATION
    metric = results.main_metrics[dataset].removeprefix("metrics.")
    if rest.startswith("errors.gain."):
        return f"Gain in {metric} without (points)", rest.removeprefix("errors.gain."), _PERCENT
    if rest.startswith("errors."):
        return "Keypoints (%)", rest.removeprefix("errors."), _PERCENT
    if rest == "ordering.AP_lost":
        return "Gain in AP without (points)", "misordering", _PERCENT
    return "Accuracy (%)", rest.removeprefix("ordering.").replace("_", " "), _PERCENT


def _facts(contents: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Groups of facts, each a name and its value in every seed, or one value where they agree."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for content in contents:
        loss, training, given = content["loss"], content["training"] or {}, content.get("config", {})
        of_seed = {
            "Loss": {"reference": loss["reference"], **loss["parameters"]},
            "Training": {name: value for name, value in training.items() if name != "curve"},
            "Data": content["data"],
            "Protocol": content["protocol"],
            "Provenance": {
                "grid": content.get("grid"),
                "config files": ", ".join(given.get("files", ())) or None,
                "changed by --config": ", ".join(given.get("changes", ())) or None,
                **content["provenance"],
            },
        }
        for title, facts in of_seed.items():
            groups.setdefault(title, []).append(facts)
    shown = []
    for title, of_seeds in groups.items():
        lines = []
        for name in dict.fromkeys(name for facts in of_seeds for name in facts):
            label, written = _WRITTEN.get((title, name), (name.replace("_", " "), _words))
            values = ["—" if facts.get(name) is None else written(facts[name]) for facts in of_seeds]
            if set(values) != {"—"}:
                lines.append({"name": label, "values": values[:1] if len(set(values)) == 1 else values})
        if lines:
            differ = any(len(line["values"]) > 1 for line in lines)
            shown.append({"title": title, "lines": lines, "differ": differ})
    return shown


def _loaded(weights: Mapping[str, Any]) -> str:
    left_out = f"; not loaded: {', '.join(weights['left_out'])}" if weights["left_out"] else ""
    return f"{weights['file']}, {weights['matched']} tensors{left_out}"


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_words(each)}" for name, each in value.items())
    if isinstance(value, list):
        return " × ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None else str(value)


def _difference(one: Any) -> dict[str, str] | None:
    if one is None:
        return None
    known = one.basis is not None
    signed = Column("", "", signed=True)
    return {
        "reference": REFERENCE,
        "metric": one.metric.removeprefix("metrics."),
        "difference": entry_text(replace(gain(one), mark=""), signed),
        "probability": f"{100 * one.probability:.0f} %" if known else "—",
        "p": "—" if np.isnan(one.p) else entry_text(p_value(one.p), Column("", "", 1, 3)),
        "verdict": one.verdict or "",
        "basis": f"over {one.basis}" if known else "without an interval",
    }


def _claims(results: Results, key: CellKey) -> list[dict[str, str]]:
    """What is claimed of a cell on real data, with the verdict."""
    if key[0] not in results.real:
        return []
    found = []
    for claim in results.claims:
        if claim.cell == key:
            value = results.values.get((*key, f"metrics.{claim.metric}"))
            found.append(
                {
                    "metric": claim.metric,
                    "claimed": entry_text(Value(claim.value), _PERCENT),
                    "measured": "not run" if value is None else entry_text(value, _PERCENT),
                    "verdict": verdict(claim, None if value is None else value.mean),
                    "source": ", ".join(filter(None, (claim.source, claim.table, claim.row))),
                }
            )
    return found
