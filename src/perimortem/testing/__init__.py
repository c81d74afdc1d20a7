"""What tests need and the product does not: a manual clock, fake selector and worker, synthetic dumps.

The dumps are made in the manner of other writers, from the published layouts (minidumpapiset.h, winnt.h,
Breakpad's minidump_format.h, Crashpad's minidump_extensions.h) with ``struct`` alone: nothing is shared
with ``perimortem.minidump``, so that a mistake there is not made here as well.
"""
