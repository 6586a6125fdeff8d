"""Pure data: the words of tiku as types. Imports no torch, no numpy, nothing above it."""
