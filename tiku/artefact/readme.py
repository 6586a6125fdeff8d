"""README.md of an artefact: what it is, and how to load it without tiku, in both languages."""

from __future__ import annotations

from tiku.artefact.manifest import MODEL, Manifest
from tiku.artefact.standalone import Standalone
from tiku.core import registry
from tiku.core.recipe import Recipe
from tiku.core.startup import exports

__all__ = ["example_source", "readme_text", "standalone_source"]

_CLASSIFY = """\
from transformers import AutoTokenizer

labels = {labels}
tokenizer = AutoTokenizer.from_pretrained("{model}")
inputs = dict(tokenizer(["A first text.", "A second one."], padding=True, truncation=True,
                        max_length={max_length}, return_tensors="np"))
for row in forward(open_model("{model}"), inputs):
    print(labels[int(row.argmax())], row)
"""

_GENERATE = """\
import numpy as np
from transformers import AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("{model}")
model = open_model("{model}")
tokens = tokenizer("Once upon a time")["input_ids"]
given = len(tokens)
while len(tokens) < given + 16:
    logits = forward(model, {{"input_ids": np.array([tokens], dtype=np.int64),
                             "attention_mask": np.ones((1, len(tokens)), dtype=np.int64)}})
    best = int(logits[0, -1].argmax())
    if best == tokenizer.eos_token_id:
        break
    tokens.append(best)
print(tokenizer.decode(tokens[given:], skip_special_tokens=True))
"""

_STORED = """\
import numpy as np

stored = np.load("check.npz")
inputs = {{name.removeprefix("input/"): stored[name] for name in stored.files if name != "logits"}}
print(forward(open_model("{model}"), inputs))
"""

_README = """\
# {title}

{task} · {family} · runtime `{runtime}` · {numerics} · recipe: {recipe}

## Load it without tiku / 不用 tiku 加载

Run this inside this folder; it needs {needs}.
在本文件夹中运行；需要 {needs}。
{startup}
```python
{source}
{example}```

## With tiku / 使用 tiku

```
tiku verify .      # every hash, a fresh process, the same answers / 校验哈希，在新进程中重现答案
tiku predict . INPUT
```

## Files / 文件

- `model/`: weights and processor in the runtime's own format / 运行时自有格式的权重与分词器
- `recipe.yaml`: the steps that made it; `tiku apply` repeats them / 生成步骤，可用 `tiku apply` 重做
- `check.npz`: reference inputs (token ids) and logits / 参考输入（词元编号）与 logits
- `artefact.json`: description, serving settings, SHA-256 of every file / 说明、服务设置、每个文件的 SHA-256

Built by tiku {tiku}. Largest difference from the PyTorch module in float32 on the reference inputs:
{away:.3g}. 由 tiku {tiku} 构建；在参考输入上与 float32 的 PyTorch 模块相差至多 {away:.3g}。
"""


_STARTUP = """
Its memory was measured in a process started with these settings; set them before Python starts.
其内存是在以下设置启动的进程中测得的；请在 Python 启动之前设置。

```
{exports}
```
"""


def standalone_source(manifest: Manifest) -> str | None:
    """Source that defines `open_model` and `forward` without tiku; None when the runtime has none."""
    runtime = registry.get("runtimes", manifest.runtime)
    if not isinstance(runtime, Standalone):
        return None
    return runtime.standalone(
        task=manifest.task,
        family=manifest.family,
        options=manifest.runtime_options,
        numerics=manifest.numerics,
    )


def example_source(manifest: Manifest) -> str:
    """What follows the standalone source: tokenise, run, print."""
    if manifest.family == "torch-module":  # only its own function knows how texts become arrays
        return _STORED.format(model=MODEL)
    if manifest.task == "causal-lm":
        return _GENERATE.format(model=MODEL)
    limit = manifest.serve.max_length or manifest.facts.get("max_length") or 512
    return _CLASSIFY.format(model=MODEL, labels=list(manifest.labels), max_length=limit)


def readme_text(manifest: Manifest, recipe: Recipe) -> str:
    """The README's text."""
    runtime = registry.get("runtimes", manifest.runtime)
    source = standalone_source(manifest)
    environment = manifest.serve.environment
    packages = [
        "transformers",
        *(["pyarrow"] if "import pyarrow" in (source or "") else []),
        *(name for name in runtime.modules if name not in ("onnx", "onnxscript")),
    ]
    return _README.format(
        title=f"{manifest.facts.get('architecture', manifest.family)} ({manifest.runtime})",
        task=manifest.task,
        family=manifest.family,
        runtime=manifest.runtime,
        numerics=manifest.numerics.scheme,
        recipe=recipe,
        needs=", ".join(packages),
        startup=_STARTUP.format(exports=exports(environment)) if environment else "",
        source=source or "# This runtime gives no way to load its files without tiku.",
        example=("\n" + example_source(manifest)) if source else "",
        tiku=manifest.tiku,
        away=manifest.check["max_abs_diff_to_module"],
    )
