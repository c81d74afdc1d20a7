"""Recorder files on Linux: read with pread, told of by inotify."""
