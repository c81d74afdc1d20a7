"""WER LocalDumps."""
