"""`result.json` (`tiku.result/1`, JSON Schema draft 2020-12): written and read, validated both ways."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from tiku.core.errors import ArtefactError, TikuError
from tiku.core.files import write_text
from tiku.core.measured import Measured
from tiku.core.metric import Scale
from tiku.core.recipe import Recipe, Step
from tiku.core.result import (
    SCHEMA,
    Answer,
    Confirmation,
    Cost,
    Interaction,
    RequirementOutcome,
    Result,
    Trial,
)
from tiku.core.text import Text
from tiku.core.verdict import Comparison

__all__ = ["from_json", "load_schema", "plain", "read_result", "to_json", "write_result"]

_NEXT = "run the exam again, or give the result.json that an exam wrote"


@cache
def load_schema() -> dict[str, Any]:
    """The JSON Schema that ships beside this file."""
    schema: dict[str, Any] = json.loads(
        files("tiku.report").joinpath("result.schema.json").read_text("utf-8")
    )
    return schema


def to_json(result: Result) -> dict[str, Any]:
    """The result as JSON values in the order of the schema, validated. Raises `ArtefactError`."""
    value = {"schema": result.schema, **plain(result)}
    _validate(value)
    return value


def from_json(value: Any) -> Result:
    """The result behind JSON values. Members that the schema does not name are ignored.

    Raises `ArtefactError` naming the first place that does not fit.
    """
    _validate(value)
    try:
        return _result(value)
    except ValueError as error:  # numbers that a Measured refuses
        _refuse(str(error), allowed=SCHEMA)


def write_result(result: Result, path: Path) -> None:
    """Write `result.json` whole or not at all. Raises `ArtefactError`, `OutOfSpace`."""
    value = to_json(result)
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1, allow_nan=False) + "\n")


def read_result(path: Path) -> Result:
    """Read and validate a `result.json`; a folder stands for the `result.json` in it.

    Raises `ArtefactError` for a file that is missing, damaged or of another schema.
    """
    file = path / "result.json" if path.is_dir() else path
    try:
        value = json.loads(file.read_bytes().decode("utf-8"), parse_constant=_no_constant)
    except OSError as error:
        _refuse("the result file cannot be read", got=f"{file}: {error.strerror}", allowed="a result.json")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        _refuse("the result file is not valid JSON in UTF-8", got=f"{file}: {error}", allowed="a result.json")
    try:
        return from_json(value)
    except TikuError as error:
        raise ArtefactError(
            f"{file}: {error.what}", got=error.got, allowed=error.allowed, next_step=error.next_step
        ) from error


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _refuse(what: str, *, got: object = None, allowed: str | None = None) -> NoReturn:
    raise ArtefactError(what, got=got, allowed=allowed, next_step=_NEXT)


def plain(value: Any) -> Any:
    """A record, or anything made of records, as JSON values in the form of the schema."""
    if isinstance(value, Recipe):
        return [{"method": step.method, "config": plain(step.config)} for step in value.steps]
    if isinstance(value, Comparison):
        pairs = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
        effect, scale = pairs.pop("effect"), pairs.pop("scale")
        return {**pairs, scale: effect}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ArtefactError(
                "a result holds only finite numbers",
                got=value,
                allowed="finite numbers or null",
                next_step=_NEXT,
            )
        return value
    if isinstance(value, Path):
        return str(value)
    raise ArtefactError(
        "a result holds only JSON values",
        got=f"{type(value).__name__}: {value}",
        allowed="null, true, false, numbers, text, lists and objects",
        next_step=_NEXT,
    )


def _validate(value: Any) -> None:
    if not isinstance(value, Mapping):
        _refuse("a result is a JSON object", got=type(value).__name__, allowed=SCHEMA)
    if value.get("schema") != SCHEMA:
        _refuse(
            "this is not a result of a schema that this tiku reads", got=value.get("schema"), allowed=SCHEMA
        )
    error = _first_error(value)
    if error is not None:
        place, message = error
        _refuse(f"the result does not follow its schema at {place}", got=message, allowed=SCHEMA)
    known = {trial["id"] for trial in value["trials"]}
    for place, id in _references(value):
        if id not in known:
            _refuse(f"{place} names a trial that the result does not hold", got=id, allowed=SCHEMA)


def _first_error(value: Any) -> tuple[str, str] | None:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    error = best_match(Draft202012Validator(load_schema()).iter_errors(value))
    return None if error is None else (error.json_path, error.message)


def _references(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "base", value["base"]
    if value["chosen"] is not None:
        yield "chosen", value["chosen"]
    if value["confirmation"] is not None:
        yield "confirmation", value["confirmation"]["trial"]
    for name, answer in value["questions"].items():
        for id in (*answer["evidence"], *filter(None, [answer["recommended"]])):
            yield f"questions.{name}", id


def _result(value: Mapping[str, Any]) -> Result:
    plain = {key: value[key] for key in ("tiku", "run_id", "started", "finished", "environment", "model")}
    plain |= {key: value[key] for key in ("data", "plan", "base", "chosen", "decision")}
    confirmation = value["confirmation"]
    return Result(
        **plain,
        reasons=_texts(value["reasons"]),
        requirements=tuple(_requirement(item) for item in value["requirements"]),
        questions={name: _answer(item) for name, item in value["questions"].items()},
        trials=tuple(_trial(item) for item in value["trials"]),
        interactions=tuple(_interaction(item) for item in value["interactions"]),
        confirmation=None if confirmation is None else _confirmation(confirmation),
        warnings=_texts(value["warnings"]),
        errors=tuple(value["errors"]),
    )


def _text(value: Mapping[str, str] | None) -> Text | None:
    return None if value is None else Text(value["en"], value["zh"])


def _texts(values: list[Mapping[str, str]]) -> tuple[Text, ...]:
    return tuple(Text(value["en"], value["zh"]) for value in values)


def _measured(value: Mapping[str, Any]) -> Measured:
    return Measured(**{f.name: value[f.name] for f in dataclasses.fields(Measured)})


def _comparison(value: Mapping[str, Any]) -> Comparison:
    scale: Scale = "ratio" if "ratio" in value else "difference"
    keys = ("base", "value", "low", "high", "verdict", "smallest_detectable", "test")
    return Comparison(**{key: value[key] for key in keys}, scale=scale, effect=value[scale])


def _metrics(value: Mapping[str, Any]) -> dict[str, Measured]:
    return {name: _measured(item) for name, item in value.items()}


def _comparisons(value: Mapping[str, Any]) -> dict[str, Comparison]:
    return {name: _comparison(item) for name, item in value.items()}


def _requirement(value: Mapping[str, Any]) -> RequirementOutcome:
    observed = None if value["observed"] is None else _measured(value["observed"])
    reason = _text(value.get("reason"))
    return RequirementOutcome(
        value["expr"], value["met"], observed, value["on"], value.get("threshold"), reason
    )


def _answer(value: Mapping[str, Any]) -> Answer:
    return Answer(
        verdict=value["verdict"],
        answer=Text(value["answer"]["en"], value["answer"]["zh"]),
        recommended=value["recommended"],
        evidence=tuple(value["evidence"]),
        caveats=_texts(value["caveats"]),
        key_metric=value.get("key_metric"),
    )


def _trial(value: Mapping[str, Any]) -> Trial:
    cost = value["cost"]
    return Trial(
        id=value["id"],
        parent=value["parent"],
        recipe=Recipe(tuple(Step(step["method"], step["config"]) for step in value["recipe"])),
        status=value["status"],
        reason=_text(value["reason"]),
        metrics=_metrics(value["metrics"]),
        against_base=_comparisons(value["against_base"]),
        details=value.get("details", {}),
        warnings=_texts(value.get("warnings", [])),
        cost=None if cost is None else Cost(cost["seconds"], cost["joules"], cost["peak_bytes"]),
        command=value.get("command", ""),
    )


def _interaction(value: Mapping[str, Any]) -> Interaction:
    methods = tuple(value["methods"])
    return Interaction(methods, value["predicted"], _measured(value["observed"]), value["metric"])


def _confirmation(value: Mapping[str, Any]) -> Confirmation:
    return Confirmation(
        trial=value["trial"],
        metrics=_metrics(value["metrics"]),
        base_metrics=_metrics(value.get("base_metrics", {})),
        against_base=_comparisons(value.get("against_base", {})),
        artefact_check=value["artefact_check"],
        details=value.get("details", {}),
    )
