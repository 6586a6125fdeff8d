"""Figures of a report: drawn by matplotlib, cleaned into inline SVG that takes its colours from the page."""
