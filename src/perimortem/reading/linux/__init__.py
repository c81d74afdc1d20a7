"""Linux: in a child of the monitor."""
