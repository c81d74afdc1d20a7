"""Seqpacket sockets of the Unix domain."""
