"""What tests need and the product does not: dumps made up in the manner of other writers.

Written from the published layouts (minidumpapiset.h, winnt.h, Breakpad's minidump_format.h, Crashpad's
minidump_extensions.h) with ``struct`` alone: nothing is shared with ``perimortem.minidump``, so that a
mistake there is not made here as well.
"""
