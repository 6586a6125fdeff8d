"""A tiku session behind lm-evaluation-harness's interface. Imports lm_eval: see `harness`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from lm_eval.api.model import TemplateLM

from tiku.core.errors import BadInput
from tiku.core.subject import Session
from tiku.measure.language.passages import Windows
from tiku.measure.language.requests import Request, fit
from tiku.measure.language.scoring import score

__all__ = ["HarnessModel"]

_MOST_NEW_TOKENS = 256  # where a task names no limit, as lm-evaluation-harness has it


class HarnessModel(TemplateLM):  # type: ignore[misc]
    """Tokenises and cuts as the harness's own Hugging Face model does; scores as tiku does, so that
    contexts that begin alike are encoded once. Generates greedily, one prompt at a time."""

    def __init__(self, session: Session, tokenizer: Any) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.session = session
        self.max_length = int(tokenizer.model_max_length)

    @property
    def eot_token_id(self) -> int:
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def tokenizer_name(self) -> str:
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **others: Any) -> list[int]:
        if add_special_tokens is None and string.startswith(self.tokenizer.decode([self.prefix_token_id])):
            add_special_tokens = False
        own = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        return list(self.tokenizer(string, verbose=False, **own)["input_ids"])

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[float]:
        windows = Windows(self.max_length, self.max_length, (self.prefix_token_id,))
        cut = [windows.over(self.tok_encode(request.args[0])) for request in requests]
        scores = score(self.session, [window for own in cut for window in own]).log_likelihoods
        ends = np.cumsum([len(own) for own in cut])
        found = [float(part.sum()) for part in np.split(scores, ends[:-1])] if cut else []
        for request, value in zip(requests, found, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, value)
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], disable_tqdm: bool = False, **others: Any
    ) -> list[tuple[float, bool]]:
        start = (self.prefix_token_id,)
        asked = [Request(tuple(context) or start, tuple(answer)) for _, context, answer in requests]
        fitted, _ = fit(asked, self.max_length)
        scores = score(self.session, fitted)
        found = [(float(n), bool(g)) for n, g in zip(scores.log_likelihoods, scores.greedy, strict=True)]
        for (pair, _, _), value in zip(requests, found, strict=True):
            if pair is not None:
                self.cache_hook.add_partial("loglikelihood", pair, value)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        found = []
        for request in requests:
            prompt, options = request.args
            found.append(self._continue(prompt, options))
            self.cache_hook.add_partial("generate_until", request.args, found[-1])
        return found

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def _continue(self, prompt: str, options: Mapping[str, Any]) -> str:
        """The text up to the first stop string, the end token or the limit."""
        if options.get("do_sample") or (options.get("temperature") or 0) > 0:
            raise BadInput(
                "tiku generates greedily for the harness",
                got=f"do_sample={options.get('do_sample')}, temperature={options.get('temperature')}",
                allowed="do_sample false, temperature 0",
                next_step="set the task's generation_kwargs so",
            )
        until = options.get("until") or []
        stops = [stop for stop in ([until] if isinstance(until, str) else until) if stop]
        limit = min(_limit_of(options), self.max_length - 1)
        tokens = self.tok_encode(prompt)[-(self.max_length - limit) :] or [self.prefix_token_id]
        text = ""
        for text in self._texts(tokens, limit):
            if any(stop in text for stop in stops):
                break
        return text[: min((text.find(stop) for stop in stops if stop in text), default=len(text))]

    def _texts(self, tokens: Sequence[int], limit: int) -> Iterator[str]:
        """What has been generated so far, token by token."""
        fed, cache, made = np.asarray([tokens], dtype=np.int64), None, list[int]()
        while len(made) < limit:
            logits_B1V, cache = self.session.extend(fed, cache, last_only=True)
            token = int(logits_B1V[0, -1].argmax())
            if token == self.eot_token_id:
                return
            made.append(token)
            yield str(self.tokenizer.decode(made, skip_special_tokens=True))
            fed = np.asarray([[token]], dtype=np.int64)


def _limit_of(options: Mapping[str, Any]) -> int:
    """The names that the harness takes for it, in its order."""
    names = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
    return int(next((options[name] for name in names if options.get(name)), _MOST_NEW_TOKENS))
