"""Fewer bytes on disk and in memory, by how weights are stored and read."""
