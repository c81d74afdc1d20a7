"""Dumps on Linux: capture, snapshot, minidump writer."""
