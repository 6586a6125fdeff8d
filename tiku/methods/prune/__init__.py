"""Pruning: whole parts are cut out, and what is left is an ordinary, smaller model."""
