"""Contract suites that plugin authors run on what they add, and the tiny models they run them with.

Each `check_…` is a plain function that returns when the contract holds and raises `AssertionError`
with the clause that does not.
"""

from tiku.testing.families import check_family
from tiku.testing.instruments import check_instrument
from tiku.testing.methods import check_declaration, check_method
from tiku.testing.runtimes import check_runtime
from tiku.testing.tiny import tiny_classifier, tiny_context, tiny_language_model, tiny_texts

__all__ = [
    "check_declaration",
    "check_family",
    "check_instrument",
    "check_method",
    "check_runtime",
    "tiny_classifier",
    "tiny_context",
    "tiny_language_model",
    "tiny_texts",
]
