"""One self-contained page of an incident, or of a dump: no network, dark and light, wide and narrow."""
