"""ELF core files: their notes (registers, siginfo, auxv), as the kernel writes them. Pure."""
