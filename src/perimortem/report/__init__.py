"""Incidents for people and programs: text and JSON. Pure."""
