"""CPython's own structures, read from the memory of a process or a dump: its frames. Pure.

Sources: CPython 3.11 to 3.14: pycore_runtime.h, pycore_interp.h, cpython/pystate.h, pycore_frame.h,
cpython/code.h, cpython/unicodeobject.h; pycore_debug_offsets.h since 3.13.
"""
