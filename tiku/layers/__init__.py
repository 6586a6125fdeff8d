"""Layers that methods put in the place of a model's own: they store and multiply another number format."""
