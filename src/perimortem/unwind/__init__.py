"""Walk the stacks of threads."""
