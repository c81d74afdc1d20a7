"""Recorder files on Linux: read with pread, changes reported by inotify."""
