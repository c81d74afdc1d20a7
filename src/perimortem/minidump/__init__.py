"""The minidump format: declared once in ``format``, written by ``writer``, read by ``reader``. Pure."""
