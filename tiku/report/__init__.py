"""What an exam found, for readers and machines: `result.json`, HTML, terminal, gate, comparison.

Nothing is measured here: every number comes from the `Result`.
"""
