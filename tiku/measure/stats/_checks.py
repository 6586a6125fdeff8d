"""Input checks shared by the statistics: each failure is a `DataError` that says what to do next."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiku.core.errors import DataError

__all__ = [
    "BoolArray",
    "FloatArray",
    "IntArray",
    "as_binary",
    "as_codes",
    "as_counts",
    "as_floats",
    "as_probabilities",
    "as_scores",
    "as_weights",
    "check_level",
    "check_positive",
    "group_codes",
    "same_length",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


def _one_dimensional(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        array = np.asarray(values)
    except ValueError as error:  # ragged nested lists
        raise DataError(
            f"{name} is not a one-dimensional array", got=error, next_step="pass a flat list"
        ) from None
    if array.ndim != 1:
        raise DataError(
            f"{name} must have one dimension",
            got=f"shape {array.shape}",
            allowed="shape (n,)",
            next_step=f"flatten {name} or pass one column",
        )
    if array.size == 0:
        raise DataError(
            f"{name} is empty", got="0 values", allowed="1 or more", next_step="check the data file"
        )
    return array


def _numeric(array: NDArray[Any], name: str) -> NDArray[Any]:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{name} must be numbers",
            got=f"dtype {array.dtype}",
            allowed="integers or floats",
            next_step=f"convert {name} to numbers",
        )
    return array


def _reject_not_finite(array: NDArray[Any], name: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.flatnonzero(~np.isfinite(array))[0])
        raise DataError(
            f"{name} holds values that are not finite",
            got=f"{array[bad]} at position {bad}",
            allowed="finite numbers",
            next_step="find why the model or the file gave NaN or infinity",
        )


def as_floats(values: ArrayLike, name: str) -> FloatArray:
    """One dimension of finite float64."""
    array = _numeric(_one_dimensional(values, name), name)
    _reject_not_finite(array, name)
    return np.asarray(array, dtype=np.float64)


def as_scores(values: ArrayLike, name: str = "scores") -> NDArray[Any]:
    """Scores as float32 (kept, and from 8 or 16 bits without loss) or float64.

    NaN is refused; infinities are allowed because they order.
    """
    array = _numeric(_one_dimensional(values, name), name)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    small = array.dtype.itemsize <= 2 or array.dtype == np.float32
    if (
        array.dtype.kind in "iu"
        and array.dtype.itemsize == 8
        and np.abs(array.astype(np.float64)).max() > 2**53
    ):
        raise DataError(
            f"{name} holds integers that a float64 cannot order",
            got=f"dtype {array.dtype}, above 2^53",
            allowed="integers up to 2^53 in size",
            next_step="rescale or rank the scores first",
        )
    scores = array.astype(np.float32 if small else np.float64, copy=False)
    if np.isnan(scores).any():
        bad = int(np.flatnonzero(np.isnan(scores))[0])
        raise DataError(
            f"{name} holds NaN",
            got=f"NaN at position {bad}",
            allowed="numbers, infinities included",
            next_step="find why the model gave NaN; dropping such items would bias the result",
        )
    return scores


def as_binary(values: ArrayLike, name: str = "labels", *, both: bool = False) -> BoolArray:
    """Labels 0/1 (or bool) as bool; with `both`, each class must be there."""
    array = _numeric(_one_dimensional(values, name), name)
    truth: BoolArray = array if array.dtype == np.bool_ else array == 1
    if array.dtype != np.bool_ and not (truth | (array == 0)).all():
        bad = array[~(truth | (array == 0))][0]
        raise DataError(
            f"{name} must be 0 or 1",
            got=bad,
            allowed="0, 1, False, True",
            next_step="map the positive class to 1 and every other label to 0",
        )
    if both and (truth.all() or not truth.any()):
        raise DataError(
            f"{name} holds one class only",
            got=f"{truth.size} x {int(truth[0])}",
            allowed="both 0 and 1",
            next_step="use a split that holds positives and negatives",
        )
    return truth


def as_codes(*columns: ArrayLike, names: tuple[str, ...]) -> tuple[NDArray[Any], list[IntArray]]:
    """Encode label columns over one sorted list of classes: `(classes, [codes, …])`."""
    arrays = [_one_dimensional(column, name) for column, name in zip(columns, names, strict=True)]
    for array, name in zip(arrays, names, strict=True):
        _reject_not_finite(array, name)
    kinds = {"text" if array.dtype.kind in "USO" else "numbers" for array in arrays}
    if len(kinds) > 1:
        raise DataError(
            f"{' and '.join(names)} must hold labels of one kind",
            got="text and numbers",
            allowed="all text, or all numbers",
            next_step="convert every label column in the same way",
        )
    same_length(dict(zip(names, arrays, strict=True)))
    try:
        classes, codes = np.unique(np.concatenate(arrays), return_inverse=True)
    except TypeError as error:
        raise DataError(
            "labels cannot be ordered",
            got=error,
            allowed="text or numbers",
            next_step="replace missing labels",
        ) from None
    return classes, list(np.split(codes.astype(np.int64), len(arrays)))


def as_probabilities(values: ArrayLike, name: str = "probabilities") -> FloatArray:
    """One dimension of float64 in [0, 1]."""
    array = as_floats(values, name)
    if array.min() < 0 or array.max() > 1:
        raise DataError(
            f"{name} must lie in [0, 1]",
            got=f"{array.min():g} … {array.max():g}",
            allowed="0 to 1",
            next_step="pass probabilities, not logits: apply softmax or sigmoid",
        )
    return array


def as_counts(values: ArrayLike, name: str, *, positive: bool = False) -> IntArray:
    """One dimension of whole numbers, not negative (or positive)."""
    array = as_floats(values, name)
    least = 1 if positive else 0
    if array.min() < least or (array != np.floor(array)).any():
        raise DataError(
            f"{name} must be counts",
            got=f"smallest {array.min():g}",
            allowed=f"whole numbers from {least}",
            next_step=f"check how {name} was counted",
        )
    return array.astype(np.int64)


def as_weights(values: ArrayLike | None, like: NDArray[Any]) -> FloatArray | None:
    """Sample weights: not negative, the same length as `like`, not all zero."""
    if values is None:
        return None
    weights = as_floats(values, "weights")
    same_length({"labels": like, "weights": weights})
    if weights.min() < 0 or weights.sum() == 0:
        raise DataError(
            "weights must not be negative, nor all zero",
            got=f"smallest {weights.min():g}, sum {weights.sum():g}",
            allowed="0 or more",
            next_step="check the weight column",
        )
    return weights


def group_codes(groups: ArrayLike | None, n: int) -> IntArray | None:
    """Cluster labels as codes 0 … G-1; at least two clusters are needed."""
    if groups is None:
        return None
    array = _one_dimensional(groups, "groups")
    if array.size != n:
        raise DataError(
            "groups and items differ in number",
            got=f"{array.size} groups labels for {n} items",
            allowed="one group label per item",
            next_step="pass the group column of the same rows",
        )
    names, codes = np.unique(array, return_inverse=True)
    if names.size < 2:
        raise DataError(
            "an interval needs two groups or more",
            got="1 group",
            allowed="2 or more",
            next_step="leave groups out if the items are independent",
        )
    return codes.astype(np.int64)


def same_length(arrays: dict[str, NDArray[Any]]) -> None:
    """Every array has the same number of items."""
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise DataError(
            "columns differ in length",
            got=", ".join(f"{name}: {size}" for name, size in sizes.items()),
            allowed="one value per item in each",
            next_step="check that all come from the same items",
        )


def check_level(level: float) -> float:
    """A confidence level strictly between 0 and 1; returns the two-sided error 1 - level."""
    if not 0 < level < 1:
        raise DataError(
            "the confidence level is out of range",
            got=level,
            allowed="between 0 and 1, such as 0.95",
            next_step="pass level=0.95",
        )
    return 1 - level


def check_positive(value: int, name: str, least: int = 1) -> int:
    """A whole number of at least `least`."""
    if isinstance(value, bool) or int(value) != value or value < least:
        raise DataError(
            f"{name} is out of range",
            got=value,
            allowed=f"a whole number from {least}",
            next_step=f"pass {name}={max(least, 1)} or more",
        )
    return int(value)
