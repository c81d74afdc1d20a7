"""Recorder files on Windows: mapped for reading, changes reported by change notifications."""
