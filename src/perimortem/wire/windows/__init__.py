"""Named pipes."""
