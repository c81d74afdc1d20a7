"""A command under watch on Linux: its signals, its terminal, its orphans."""
