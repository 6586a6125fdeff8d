"""Runtimes: one public file each, exporting `RUNTIME`: how a built model is saved, opened and executed."""
