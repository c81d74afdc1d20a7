"""Incidents on disk: an embedded SQLite database and the dumps beside it."""
