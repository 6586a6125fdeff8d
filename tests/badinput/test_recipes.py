# ruff: noqa: E501 - one row per case reads as a table
"""Recipes that are no recipes, or that nothing can carry out."""

from __future__ import annotations

from tests.badinput.refusal import Case, Home, case, check, table


def _apply(home: Home, text: str | bytes, model: str = "no-such-model") -> list[object]:
    """The recipe is refused before a model is looked for."""
    return ["apply", home.write("bad.yaml", text), model, "--data", "no-such-data.csv", "--out", "built"]


def _on_model(home: Home, text: str) -> list[object]:
    return ["apply", home.write("bad.yaml", text), "model", "--data", "reviews.csv", "--out", "built"]


_BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
) + "steps: [*i]\n"  # fmt: skip

CASES = [
    case("missing", lambda h: ["apply", "nowhere.yaml", "m", "--data", "d.csv", "--out", "built"], "cannot be read", "nowhere.yaml"),
    case("folder without one", lambda h: ["apply", "model", "m", "--data", "d.csv", "--out", "built"], "cannot be read", "recipe.yaml"),
    case("empty", lambda h: _apply(h, ""), "the recipe is empty", "name at least one method"),
    case("comments only", lambda h: _apply(h, "# nothing\n"), "the recipe is empty"),
    case("not YAML", lambda h: _apply(h, "steps: [int8-dynamic\n"), "not valid YAML", "line 2"),
    case("tabs", lambda h: _apply(h, "steps:\n\t- int8-dynamic\n"), "not valid YAML", "line 2"),
    case("binary", lambda h: _apply(h, b"\xff\xfe\x00"), "cannot be read", "save it as UTF-8 text"),
    case("control characters", lambda h: _apply(h, "steps: [\x07]\n"), "not valid YAML"),
    case("a word", lambda h: _apply(h, "int8-dynamic\n"), "a recipe is a list of steps", "got: int8-dynamic"),
    case("a number", lambda h: _apply(h, "8\n"), "a recipe is a list of steps"),
    case("steps are a mapping", lambda h: _apply(h, "steps: {method: int8-dynamic}\n"), "a recipe is a list of steps"),
    case("no steps", lambda h: _apply(h, "methods: [int8-dynamic]\n"), "a recipe is a list of steps"),
    case("step is a number", lambda h: _apply(h, "steps: [8]\n"), "a step names its method"),
    case("step without method", lambda h: _apply(h, "steps: [{config: {}}]\n"), "a step names its method"),
    case("step with a third key", lambda h: _apply(h, "steps: [{method: int8-dynamic, when: now}]\n"), "only two keys", "got: when"),
    case("python object", lambda h: _apply(h, "steps: !!python/object/apply:os.system ['touch ran']\n"), "not valid YAML", "python/object"),
    case("python name", lambda h: _apply(h, "steps: [!!python/name:os.system x]\n"), "not valid YAML"),
    case("billion laughs", lambda h: _apply(h, _BOMB), "a step names its method", "..."),
    case("nested too deep", lambda h: _apply(h, "[" * 600), "not valid YAML"),
    case("unknown method", lambda h: _apply(h, "steps: [int4-magic]\n"), "no method of this name", "int8-dynamic"),
    case("misspelt method", lambda h: _apply(h, "steps: [int8-dynamics]\n"), "did you mean int8-dynamic"),
    case("unknown parameter", lambda h: _apply(h, "steps: [{method: finetune, config: {epoch: 2}}]\n"), "no parameter of this name", "did you mean epochs"),
    case("config is a list", lambda h: _apply(h, "steps: [{method: finetune, config: [1]}]\n"), "config of finetune is not a mapping"),
    case("out of range", lambda h: _apply(h, "steps: [{method: finetune, config: {epochs: -1}}]\n"), "finetune.epochs is out of range", "got: -1"),
    case("far out of range", lambda h: _apply(h, "steps: [{method: finetune, config: {batch_tokens: 1000000000}}]\n"), "finetune.batch_tokens is out of range"),
    case("text for a number", lambda h: _apply(h, "steps: [{method: finetune, config: {epochs: many}}]\n"), "must be a number", "got: many"),
    case("fraction for a count", lambda h: _apply(h, "steps: [{method: finetune, config: {batch_tokens: 1.5}}]\n"), "must be a whole number"),
    case("infinite", lambda h: _apply(h, "steps: [{method: finetune, config: {learning_rate: .inf}}]\n"), "must be a number", "inf"),
    case("not a choice", lambda h: _apply(h, "steps: [{method: openvino, config: {hint: FAST}}]\n"), "not one of its choices", "LATENCY"),
    case("two runtimes", lambda h: _apply(h, "steps: [onnxruntime, openvino]\n"), "exclude each other", "onnxruntime, openvino"),
    case("one method twice", lambda h: _apply(h, "steps: [int8-dynamic, int8-dynamic]\n"), "exclude each other"),
    case("file in the way of the artefact", lambda h: ["apply", "base.yaml", "model", "--data", "reviews.csv", "--out", "reviews.csv"], "a file stands where the folder should be"),
    case("foreign folder in the way", lambda h: ["apply", "base.yaml", "model", "--data", "reviews.csv", "--out", "decoder"], "holds something that is not an artefact", "nothing was written over"),
    case("method of another task", lambda h: ["apply", h.write("bad.yaml", "steps: [finetune]\n"), "decoder", "--data", h.write("p.txt", "A warm film. " * 300), "--out", "built"], "cannot be applied to this model here"),
]  # fmt: skip


@table(CASES)
def test_recipes_that_cannot_be_carried_out_are_refused(home: Home, row: Case) -> None:
    check(home, row)
    assert not (home.path / "ran").exists(), "no code of the recipe was run"
