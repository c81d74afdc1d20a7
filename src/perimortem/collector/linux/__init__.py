"""The kernel's core_pattern."""
