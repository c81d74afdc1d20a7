"""The library: what the commands do, as functions with typed results; ``import perimortem`` has them.

Nothing here prints, forks, installs a signal handler or reaps a child of the caller's: a live process is
watched, dumped and examined by a separate perimortem process. Errors are
:class:`~perimortem.errors.PerimortemError` with what, why and a remedy. All functions may be called from
any thread.
"""
