"""Distillation: a smaller student learns from what a larger model answers."""
