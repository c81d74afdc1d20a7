"""What the loop stands on, by the calls of Windows."""
