"""Calls of Windows, declared with their types. No decisions: who uses them turns failures into words."""
