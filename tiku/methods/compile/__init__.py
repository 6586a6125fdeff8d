"""Runtimes as methods: the same model executed by another engine."""
