"""Errors become one line on stderr and an exit status."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from perimortem.errors import PerimortemError, UsageError


def report_failures(work: Callable[[], object], *, is_run: bool = False) -> int:
    """The status that ``work`` returns, or that stands for its error: 2 for misuse, 1 for failure, 125
    in `run`. Raises SystemExit if no one reads our output."""
    try:
        status = work()
    except click.ClickException as error:
        error.show()
        return 125 if is_run else error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("perimortem: interrupted", err=True)
        return 130
    except PerimortemError as error:
        click.echo(f"perimortem: {error}", err=True)
        return 125 if is_run and not isinstance(error, UsageError) else error.exit_status
    except BrokenPipeError:  # the reader of our output has left: head, less
        _leave_unheard()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            click.echo("perimortem: the output could not be written: no space is left", err=True)
            discard_unwritable_output()
            return 1
        if sys.platform != "win32" or error.errno != errno.EINVAL:
            raise
        _leave_unheard()  # so Windows says it
    discard_unwritable_output()
    return status if isinstance(status, int) else 0


def _leave_unheard() -> NoReturn:
    sys.stderr.close()
    sys.exit(141)


def discard_unwritable_output() -> None:
    """Python ends with 120 when a last flush fails; the status of the target goes before that."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        except (AttributeError, ValueError):
            continue  # there is no stream: it was closed when we were started
