"""Declared fixed-layout records, and the small readers of binary structure built on them. Pure."""
