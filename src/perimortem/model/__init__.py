"""Frozen data that the packages pass to each other. No input or output, no decisions."""
