"""`Recipe`: an ordered list of methods with configs; saved as YAML, hashed, applied again anywhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tiku.core import registry
from tiku.core.config import build_config
from tiku.core.errors import RecipeError
from tiku.core.method import STAGES, Method

__all__ = ["Recipe", "Step"]


_STEP = "NAME, or {method: NAME, config: {…}}"
_STEPS = f"steps: a list, each one {_STEP}"


@dataclass(frozen=True)
class Step:
    """A method's name and the config values that differ from nothing: all of them, resolved."""

    method: str
    config: Mapping[str, Any]

    @classmethod
    def of(cls, method: Method) -> Step:
        """The step that rebuilds this method."""
        return cls(method.name, dataclasses.asdict(method))

    def build(self) -> Method:
        """The method with its config checked. Raises `UnknownName`, `RecipeError`."""
        kind: type[Method] = registry.get("methods", self.method)
        return build_config(kind, self.config, name=self.method)


@dataclass(frozen=True)
class Recipe:
    """Steps in stage order (train → compress → compile → serve)."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, *methods: Method) -> Recipe:
        """Order the methods by stage and check that they can stand together.

        Within a stage the order given stays, but number formats come last: only float32 weights are cut.
        """
        ordered = sorted(methods, key=lambda m: (STAGES.index(m.stage), m.slot == "numerics"))
        _refuse_doubles(ordered)
        return cls(tuple(Step.of(m) for m in ordered))

    @classmethod
    def parse(cls, value: Any) -> Recipe:
        """From outside values: a list of names or {method, config} mappings. Raises `RecipeError`."""
        items = value.get("steps") if isinstance(value, Mapping) else value
        if not isinstance(items, list):
            raise RecipeError(
                "a recipe is a list of steps",
                got=value,
                allowed=_STEPS,
                next_step="write one step per line, each beginning with a dash",
            )
        return cls.of(*(_parse_step(item).build() for item in items))

    def methods(self) -> tuple[Method, ...]:
        """The methods, built and checked."""
        return tuple(step.build() for step in self.steps)

    def plus(self, *methods: Method) -> Recipe:
        """This recipe with further methods. Raises `RecipeError` when they exclude each other."""
        return Recipe.of(*self.methods(), *methods)

    def names(self) -> tuple[str, ...]:
        """Method names, in order."""
        return tuple(step.method for step in self.steps)

    def __str__(self) -> str:
        return " + ".join(self.names()) or "base"


def _parse_step(item: Any) -> Step:
    if isinstance(item, str):
        return Step(item, {})
    if not isinstance(item, Mapping) or not isinstance(item.get("method"), str):
        raise RecipeError(
            "a step names its method", got=item, allowed=_STEP, next_step="write it as {method: NAME}"
        )
    unknown = set(item) - {"method", "config"}
    if unknown:
        raise RecipeError(
            "a step has only two keys",
            got=", ".join(map(str, unknown)),
            allowed="method, config",
            next_step="put the method's parameters under config",
        )
    return Step(item["method"], item.get("config") or {})


def _refuse_doubles(methods: list[Method]) -> None:
    taken: dict[str, str] = {}
    for method in methods:
        key = method.slot or method.name
        if key in taken:
            raise RecipeError(
                "these two methods exclude each other",
                got=f"{taken[key]}, {method.name}",
                allowed="one method of each kind",
                next_step="keep one of them",
            )
        taken[key] = method.name
