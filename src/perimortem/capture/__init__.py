"""Take a snapshot of a live process: freeze it, copy what the dump needs, let it run on."""
