"""What both transformers families share: checked loading, and a tokenizer that fits the network."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tiku.core.errors import ModelError
from tiku.core.subject import Subject
from tiku.models._encoding import NO_LIMIT
from tiku.models._source import declared_length

__all__ = [
    "check_complete",
    "check_finite",
    "explained",
    "first_line",
    "fit_tokenizer",
    "load_config",
    "load_tokenizer",
    "pretrained",
    "quiet",
    "save",
]


def _never(key: str) -> bool:
    return False


_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")
_PROBE = "Good, it's 2024: 3.14 tests — a naïve café\n\n  def f(x):\treturn x  # 你好，世界"
_BUFFERS = ("position_ids", "inv_freq", "attn.bias", "masked_bias")  # saved by old versions, rebuilt by new


def load_config(folder: Path, declared: Mapping[str, Any], **changes: Any) -> Any:
    """The transformers config of a folder. `declared` is config.json. Raises `ModelError`."""
    from transformers import CONFIG_MAPPING, AutoConfig

    kind = declared["model_type"]
    if kind not in CONFIG_MAPPING:
        raise ModelError(
            "this model needs code of its own, and tiku runs no remote code"
            if "auto_map" in declared
            else "the installed transformers does not know this architecture",
            got=f"model_type {kind!r}",
            allowed="architectures that the installed transformers ships",
            next_step="write a function that builds it and give module:function"
            if "auto_map" in declared
            else "update transformers, or build the module yourself and give module:function",
        )
    with explained(folder, "config.json does not describe a model that transformers can build"):
        return AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True, **changes)


def load_tokenizer(folder: Path) -> Any:
    """The folder's tokenizer, the fast one where there is one. Raises `ModelError`."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    if not any((folder / name).is_file() for name in _VOCABULARIES) and not list(folder.glob("*.bpe.model")):
        # transformers would build an empty vocabulary from the config and map every word to "unknown"
        raise ModelError(
            "the model folder has no tokenizer",
            got=f"{folder}: none of {', '.join(_VOCABULARIES)}",
            allowed="tokenizer.json, or the vocabulary files of the tokenizer's class",
            next_step="save it into the folder with tokenizer.save_pretrained(folder)",
        )
    with explained(folder, "the tokenizer of this folder cannot be read"):
        asked: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
        tokenizer = AutoTokenizer.from_pretrained(folder, **asked)
        if not _reads_as_stored(tokenizer, folder):
            tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, **asked)
    return tokenizer


def _reads_as_stored(tokenizer: Any, folder: Path) -> bool:
    """Whether the tokenizer splits text as tokenizer.json says.

    transformers 5 chooses a class by the architecture, and some classes bring a way of splitting of
    their own: a Llama or Qwen2 network with another tokenizer would then read other words than it was
    trained on. `do_lower_case` is the one setting that is meant to overrule the file.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file() or not hasattr(tokenizer, "backend_tokenizer"):
        return True
    if "do_lower_case" in tokenizer.init_kwargs:
        return True
    stored = Tokenizer.from_file(str(path))
    stored.no_truncation()
    stored.no_padding()
    own = tokenizer.encode(_PROBE, add_special_tokens=False)
    return bool(own == stored.encode(_PROBE, add_special_tokens=False).ids)


def pretrained(auto: Any, folder: Path, config: Any, seed: int) -> tuple[Any, dict[str, Any]]:
    """(module in eval mode and float32, loading info). New weights are drawn from `seed`.

    Shapes that do not fit are left to the caller in info["mismatched_keys"]. Raises `ModelError`.
    """
    import torch

    with (
        torch.random.fork_rng(devices=[]),
        quiet(),
        explained(folder, "transformers cannot load this model"),
    ):
        torch.manual_seed(seed)
        module, info = auto.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    return module.eval(), info


def check_complete(
    module: Any, info: Mapping[str, Any], optional: Callable[[str], bool] = _never
) -> list[str]:
    """The weights drawn anew because the file lacked them or had them in another shape.

    Only keys that are `optional` may be. Raises `ModelError` for all others, and for stored weights
    of the network's body that the config left no place for.
    """
    mismatched = [entry[0] if isinstance(entry, tuple) else entry for entry in info["mismatched_keys"]]
    misfit = sorted(key for key in mismatched if not optional(key))
    if misfit:
        raise ModelError(
            "stored weights do not have the shapes that config.json describes",
            got=_some(misfit),
            allowed="weights and config.json of one and the same model",
            next_step="put back the config.json that was saved with these weights",
        )
    absent = sorted(key for key in info["missing_keys"] if not optional(key))
    if absent:
        raise ModelError(
            "weights are missing that only training can give",
            got=_some(absent),
            allowed="every weight of the network; just a classification head may be new",
            next_step="save the whole model with model.save_pretrained(folder)",
        )
    surplus = _unread_body_weights(module, info["unexpected_keys"])
    if surplus:
        raise ModelError(
            "the file holds network weights for which config.json has no place",
            got=_some(surplus),
            allowed="weights and config.json of one and the same model",
            next_step="put back the config.json that was saved with these weights",
        )
    return sorted({*mismatched, *info["missing_keys"]})


def check_finite(module: Any) -> None:
    """Raise `ModelError` when a weight is NaN or infinite."""
    bad = [name for name, p in module.named_parameters() if p.is_floating_point() and not p.isfinite().all()]
    if bad:
        raise ModelError(
            "weights are not finite (NaN or infinite)",
            got=_some(bad),
            allowed="finite numbers",
            next_step="use an earlier checkpoint: this training run diverged, or the file is damaged",
        )


def fit_tokenizer(tokenizer: Any, module: Any, folder: Path) -> None:
    """Make tokenizer and network agree: length limit, pad token, input names, vocabulary.

    Raises `ModelError` when the tokenizer has ids that the embedding lacks.
    """
    rows = int(module.get_input_embeddings().weight.shape[0])
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest >= rows:
        raise ModelError(
            "the tokenizer does not belong to this model: it has token ids that the embedding lacks",
            got=f"largest token id {largest}, embedding of {rows} rows",
            allowed=f"token ids 0 … {rows - 1}",
            next_step="save the matching tokenizer into the folder, or resize the embedding and train it",
        )
    limits = (tokenizer.model_max_length, _positions(module), declared_length(folder), NO_LIMIT)
    tokenizer.model_max_length = min(limit for limit in limits if limit is not None)
    tokenizer.padding_side = "right"  # absolute positions and causal masks then ignore the padding
    if tokenizer.pad_token_id is None:
        substitute = tokenizer.eos_token or tokenizer.unk_token or tokenizer.bos_token
        if substitute is None:
            raise ModelError(
                "the tokenizer has no token to pad with",
                got="pad, end and unknown token are all unset",
                allowed="a pad token",
                next_step="set tokenizer.pad_token to a token of the vocabulary and save it again",
            )
        tokenizer.pad_token = substitute
    accepted = set(inspect.signature(module.forward).parameters)
    if getattr(module.config, "type_vocab_size", 2) < 2:  # one row: the second text of a pair has no type
        accepted.discard("token_type_ids")
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in accepted]


def save(subject: Subject, folder: Path) -> None:
    """Weights (safetensors), config and tokenizer, as `save_pretrained` lays them out."""
    with quiet():
        subject.module.save_pretrained(folder)
    subject.processor.save_pretrained(folder)


def _unread_body_weights(module: Any, unexpected: Iterable[str]) -> list[str]:
    children = {name for name, _ in module.base_model.named_children()}
    prefix = f"{module.base_model_prefix}."
    stored = (key for key in unexpected if not key.endswith(_BUFFERS))
    return sorted(key for key in stored if key.removeprefix(prefix).split(".")[0] in children)


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _positions(module: Any) -> int | None:
    """The longest input the position embedding has rows for; None when positions are computed."""
    for name, part in module.named_modules():
        if name.endswith("position_embeddings") and hasattr(part, "num_embeddings"):
            # RoBERTa counts positions from padding_idx + 1
            offset = 0 if part.padding_idx is None else part.padding_idx + 1
            return int(part.num_embeddings) - offset
    try:
        limit = getattr(module.config.get_text_config(), "max_position_embeddings", None)
    except NotImplementedError:  # how XLNet says that it has no limit
        return None
    return limit if isinstance(limit, int) and limit > 0 else None


def first_line(error: Exception) -> str:
    """The first line of a library's message, and what it announces; its class where it says nothing."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


@contextlib.contextmanager
def explained(folder: Path, what: str) -> Iterator[None]:
    """Any failure of the library on a user's folder is about the folder."""
    try:
        yield
    except Exception as error:
        raise ModelError(
            what,
            got=f"{folder}: {first_line(error)}",
            allowed="a folder written by save_pretrained of a version that is not newer",
            next_step="load it with transformers alone to see the details, and save it again",
        ) from error


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' progress bars and load report: what it reports is checked and kept as facts."""
    from transformers import utils

    logging: Any = utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
