"""Incidents that survive everything: an embedded SQLite database and the dumps beside it."""
