"""Recorder files on Windows: mapped to be read, told of by change notifications."""
