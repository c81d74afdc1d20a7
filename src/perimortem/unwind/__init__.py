"""Stacks of threads: for now from debuggers that are present, as text."""
