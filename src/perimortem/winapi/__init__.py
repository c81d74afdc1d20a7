"""Windows functions, declared with their types. No decisions: callers turn failures into messages."""
