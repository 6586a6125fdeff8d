"""Instruments: each turns a model or its outputs into a `Measured`."""
