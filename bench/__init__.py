"""Side-by-side comparisons with the peers; one file each, `python -m bench.NAME [--json]`."""
