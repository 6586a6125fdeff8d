"""Arrow tables to tiku's own, with the class names that Hugging Face writes into the metadata."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tiku.core.errors import DataError
from tiku.data.table import Table

__all__ = ["class_names_of", "from_arrow"]


def from_arrow(name: str, file: str, table: Any) -> Table:
    """A `pyarrow.Table` as rows. Raises `DataError` when it has none or names a column twice."""
    names = list(table.column_names)
    if len(set(names)) != len(names) or not table.num_rows:
        raise DataError(
            "the table has no rows" if not table.num_rows else "the table names a column twice",
            got=f"{file}: {', '.join(names) or 'no columns'}",
            allowed="at least one row, different column names",
            next_step="write the file again",
        )
    columns = {column: table.column(column).to_pylist() for column in names}
    where = [f"{file}:row {i + 1}" for i in range(table.num_rows)]
    metadata = (table.schema.metadata or {}).get(b"huggingface", b"{}")
    return Table(name, columns, where, class_names=class_names_of(_features(metadata)))


def class_names_of(features: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """{"label": {"_type": "ClassLabel", "names": […]}} -> {"label": (…)}."""
    return {
        column: tuple(map(str, feature["names"]))
        for column, feature in features.items()
        if isinstance(feature, Mapping)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }


def _features(metadata: bytes) -> Mapping[str, Any]:
    try:
        features = json.loads(metadata).get("info", {}).get("features", {})
    except (ValueError, AttributeError):  # metadata of another tool under the same key
        return {}
    return features if isinstance(features, Mapping) else {}
