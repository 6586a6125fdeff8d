"""Narrows what is registered to what `TIKU_TEST_KEEP` names, in every process of an exam under test.

Everything kept is the real thing; a test that needs two methods need not wait for twelve.
"""

import json
import os

_KEEP = json.loads(os.environ.get("TIKU_TEST_KEEP", "{}"))

if _KEEP:
    from tiku.core import registry

    _all = registry._targets

    def _kept(group: str) -> dict[str, str]:
        found = _all(group)
        return {name: found[name] for name in found if name in _KEEP.get(group, found)}

    registry._targets = _kept
