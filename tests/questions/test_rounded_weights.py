"""Weights that came on a grid are named wherever that changes what a number means."""

from tiku.questions._wording import grid_caveats

_GGUF = [
    {"format": "Q4_1", "bits": 4, "block": 32, "share": 0.79},
    {"format": "Q8_0", "bits": 8, "block": 32, "share": 0.2},
    {"format": "F32", "bits": 32, "block": 1, "share": 0.01},
]


def test_weights_from_a_quantised_file_carry_the_grid_of_most_of_them():
    (caveat,) = grid_caveats({"weights_grid": _GGUF})
    assert "4-bit grid (Q4_1, blocks of 32; 99% of them" in caveat.en
    assert "4 位网格" in caveat.zh and "99%" in caveat.zh


def test_full_weights_and_files_that_hold_mostly_full_weights_carry_none():
    assert grid_caveats({}) == ()
    assert grid_caveats({"weights_grid": [{"format": "F16", "bits": 16, "block": 1, "share": 1.0}]}) == ()
    mostly = [{"format": "F32", "bits": 32, "block": 1, "share": 0.7}, {**_GGUF[0], "share": 0.3}]
    assert grid_caveats({"weights_grid": mostly}) == ()
