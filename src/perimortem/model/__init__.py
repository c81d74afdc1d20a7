"""Frozen data that the packages hand to each other. No input or output, no decisions."""
