"""From facts to conclusions: the verdict. Pure."""
