"""Vocabulary trimming: the embedding keeps the tokens the data need, the tokenizer is rebuilt for them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, ClassVar

from tiku.core.config import param
from tiku.core.errors import DataError, ModelError
from tiku.core.method import Context, Method, Stage
from tiku.core.subject import Subject
from tiku.core.text import Text
from tiku.core.verdict import Support
from tiku.methods.prune import _tokenizer_json
from tiku.methods.prune._rebuilding import empty_network, fill, with_fields
from tiku.methods.prune._texts import read_texts

if TYPE_CHECKING:
    import torch

__all__ = ["METHOD", "VocabularyTrim"]

_BATCH = 256  # texts encoded at once
_COMPARED = 1_000_000  # characters of texts that are split by both tokenizers
_PROBE = 64  # tokens of the text that goes through both networks
_TOLERANCE = 1e-4  # of the largest logit: the same products, perhaps summed in another order


@dataclass(frozen=True)
class VocabularyTrim(Method):
    """Cuts embedding rows (and those of the output layer) whose tokens no text of the data uses.

    Kept are the tokens of the train and calibration texts, the parts that they are merged from, all added
    tokens, and the smallest pieces (characters or bytes): every other text can still be read, as more
    and shorter tokens. Texts whose tokens all stay are split as before and a classifier answers them
    exactly as before; a language model spreads its probability over fewer tokens. Both are checked
    before the result is handed on. What new texts lose shows on the validation split, which is not read.
    """

    name: ClassVar[str] = "vocabulary-trim"
    promise: ClassVar[float] = 0.75
    stage: ClassVar[Stage] = "compress"
    questions: ClassVar[tuple[str, ...]] = ("memory", "inference")
    title: ClassVar[Text] = Text("Vocabulary trimming", "词表裁剪")
    source: ClassVar[str] = "Abdaoui et al. 2020, Load What You Need (SustaiNLP); Ushio et al. 2023"

    least_count: int = param(
        1, "a token stays when the texts use it at least so often; above 1 rare words are spelled out",
        low=1, high=10**6,
    )  # fmt: skip

    def supports(self, subject: Subject) -> Support:
        """Transformers modules in float32 with a fast tokenizer that has smaller pieces to fall back to."""
        if not hasattr(subject.module, "get_input_embeddings") or not hasattr(subject.module, "config"):
            return Support.no(
                "the model is not a transformers module, so its table of tokens cannot be found",
                "模型不是 transformers 模块，无法定位其词元表",
            )
        if subject.numerics.scheme != "fp32":
            return Support.no(
                f"the model is already {subject.numerics.scheme}; rows are cut before numbers are rounded",
                f"模型已是 {subject.numerics.scheme}；应先裁行再量化",
            )
        core = getattr(subject.processor, "backend_tokenizer", None)
        if core is None:
            return Support.no(
                "its tokenizer has no tokenizer.json (no fast tokenizer) that could be rewritten",
                "其分词器没有可改写的 tokenizer.json（不是快速分词器）",
            )
        reason = _tokenizer_json.obstacle(json.loads(core.to_str()))
        return Support.yes() if reason is None else Support.no(*reason)

    def apply(self, subject: Subject, context: Context) -> Subject:
        """A subject with a smaller table and tokenizer. Raises `DataError` without texts, `ModelError`
        where the rebuilt pair does not answer as before."""
        spec = json.loads(subject.processor.backend_tokenizer.to_str())
        used = self._used(spec, context)
        rows = int(subject.module.get_input_embeddings().weight.shape[0])
        kept = [i for i in _tokenizer_json.closure(spec, {*used, *_config_ids(subject.module)}) if i < rows]
        small = _tokenizer_json.rewritten(spec, kept)
        tokenizer = _swapped(subject.processor, small)
        checked = _check_tokens(spec, small, kept, _first(read_texts(context.splits), _COMPARED))
        module = _cut_rows(subject.module, kept)
        longest = min(_PROBE, tokenizer.model_max_length)
        _check_answers(subject.module, module, kept, used[:longest] or kept[:longest])
        facts = {
            "tokens_before": rows, "tokens": len(kept), "tokens_used": len(used), "texts_compared": checked,
            "parameters_before": _count(subject.module), "parameters": _count(module),
        }  # fmt: skip
        return replace(
            subject, module=module, processor=tokenizer, facts={**subject.facts, "vocabulary_trim": facts}
        )

    def _used(self, spec: Mapping[str, Any], context: Context) -> list[int]:
        """Ids that the texts use often enough, the most frequent first."""
        from collections import Counter

        counts: Counter[int] = Counter()
        for done, ids in enumerate(_ids(spec, read_texts(context.splits))):
            counts.update(ids)
            if done % 1000 == 0:
                context.progress(0, 1, f"{done} texts read, {len(counts)} tokens used")
        if not counts:
            raise DataError(
                "there are no texts that say which tokens are needed",
                got="0 texts in train and calibration",
                allowed="one text or more",
                next_step="give data, or leave vocabulary-trim out",
            )
        return [token for token, count in counts.most_common() if count >= self.least_count]


def _ids(spec: Mapping[str, Any], texts: Iterable[str]) -> Iterator[list[int]]:
    """Token ids of every whole text, in order."""
    from tokenizers import Tokenizer

    core = Tokenizer.from_str(json.dumps(spec))
    core.no_truncation()
    core.no_padding()
    rest = iter(texts)
    while batch := list(islice(rest, _BATCH)):
        yield from (encoding.ids for encoding in core.encode_batch(batch))


def _first(texts: Iterable[str], characters: int) -> list[str]:
    """The first texts that hold so many characters, the last of them cut short."""
    found, left = [], characters
    for text in texts:
        found.append(text[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    return found


def _config_ids(module: Any) -> set[int]:
    """Token ids that the config and the generation config name."""
    found: set[int] = set()
    for config in (module.config, getattr(module, "generation_config", None)):
        for value in _token_fields(config).values():
            found |= set(value) if isinstance(value, list) else {value}
    return found


def _token_fields(config: Any) -> dict[str, Any]:
    """Fields such as eos_token_id that hold an id or a list of ids."""
    values = {} if config is None else config.to_dict()
    named = {name: value for name, value in values.items() if name.endswith(("_token_id", "_tokens"))}
    return {name: value for name, value in named.items() if _is_id(value) or _are_ids(value)}


def _is_id(value: Any) -> bool:
    return type(value) is int and value >= 0


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_id, value))


def _renumber(config: Any, new: Mapping[int, int]) -> dict[str, Any]:
    return {
        name: [new.get(i, i) for i in value] if isinstance(value, list) else new.get(value, value)
        for name, value in _token_fields(config).items()
    }


def _swapped(processor: Any, spec: Mapping[str, Any]) -> Any:
    """A copy of the tokenizer, its settings kept, around the rewritten tokenizer.json."""
    from tokenizers import Tokenizer

    changed = copy.deepcopy(processor)
    changed._tokenizer = Tokenizer.from_str(json.dumps(spec))  # the attribute behind backend_tokenizer
    return changed


def _check_tokens(
    spec: Mapping[str, Any], small: Mapping[str, Any], kept: Sequence[int], texts: Sequence[str]
) -> int:
    """Both tokenizers split the texts alike wherever every token stayed; the number of texts compared."""
    new, compared = {old: i for i, old in enumerate(kept)}, 0
    for before, after in zip(_ids(spec, texts), _ids(small, texts), strict=True):
        if all(i in new for i in before):
            compared += 1
            if [new[i] for i in before] != after:
                raise ModelError(
                    "the smaller tokenizer splits a text in another way than the whole one",
                    got=f"{len(before)} tokens before, {len(after)} after",
                    allowed="the same tokens",
                    next_step="leave vocabulary-trim out for this model",
                )
    return compared


def _cut_rows(module: Any, kept: Sequence[int]) -> Any:
    """The network with the kept rows in every table that has a row per token."""
    import torch

    new = {old: i for i, old in enumerate(kept)}
    config = with_fields(module.config, {"vocab_size": len(kept), **_renumber(module.config, new)})
    network = empty_network(module, config)
    if getattr(network, "generation_config", None) is not None:
        for name, value in _renumber(network.generation_config, new).items():
            setattr(network.generation_config, name, value)
    rows = torch.tensor(kept)
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    state = {
        name: tensor[rows] if name in shapes and _is_table(tensor, shapes[name], len(kept)) else tensor
        for name, tensor in module.state_dict().items()
    }
    return fill(network, state)


def _is_table(tensor: torch.Tensor, wanted: Any, count: int) -> bool:
    return bool(tensor.shape != wanted and wanted[:1] == (count,) and tensor.shape[1:] == wanted[1:])


def _check_answers(module: Any, small: Any, kept: Sequence[int], probe: Sequence[int]) -> None:
    """One row of used tokens gives the same logits; a language model's, on the tokens that stayed."""
    import torch

    new = {old: i for i, old in enumerate(kept)}
    row = [i for i in probe if i in new]
    with torch.inference_mode():
        before = module(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row))).logits
        after = small(
            input_ids=torch.tensor([[new[i] for i in row]]), attention_mask=torch.ones(1, len(row))
        ).logits
    if before.shape != after.shape:
        before = before[..., torch.tensor(kept)]
    away = (before - after).abs().max().item()
    if not away <= _TOLERANCE * max(1.0, before.abs().max().item()):
        raise ModelError(
            "the network with fewer tokens answers otherwise than the whole one",
            got=f"logits {away:.3g} apart on the same tokens",
            allowed="the same logits",
            next_step="leave vocabulary-trim out for this model: its code uses token ids in a way of its own",
        )


def _count(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


METHOD = VocabularyTrim
