"""How a language model's logits become text: plain, speculative, and several requests at once.

Only `Session` is known here: the same code decodes in every runtime that keeps a key/value cache.
"""

from tiku.core.generation import Generated, Request
from tiku.decoding.batching import decode_together
from tiku.decoding.choosing import Chooser, Draft, Greedy, Sampler, Sampling, distribution
from tiku.decoding.drafting import DraftModel, PromptLookup
from tiku.decoding.loop import decode, greedy, sample

__all__ = [
    "Chooser",
    "Draft",
    "DraftModel",
    "Generated",
    "Greedy",
    "PromptLookup",
    "Request",
    "Sampler",
    "Sampling",
    "decode",
    "decode_together",
    "distribution",
    "greedy",
    "sample",
]
