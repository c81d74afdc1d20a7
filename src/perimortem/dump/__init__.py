"""The platform seam: ``write_dump(process, path, types) -> DumpResult``, and the worker that does it.

On Linux it is capture, snapshot, minidump writer. The monitor never calls it itself: freezing and
reading a broken process is done by a short-lived child (``worker``) with limits and a deadline.
"""
