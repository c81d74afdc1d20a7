"""A self-contained page for an incident or a dump: no network, dark and light, wide and narrow."""
