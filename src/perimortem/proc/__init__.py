"""What /proc says of a process: hostile text, of something that may be gone before the next read."""
