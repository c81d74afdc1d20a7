"""/proc: hostile text, of something that may be gone before the next read."""
