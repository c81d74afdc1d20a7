"""/proc: untrusted text about a process that may be gone before the next read."""
