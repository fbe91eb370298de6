"""The way to the terminal: everything the commands print or log goes through here, and no control character passes."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from ..errors import MemoRAGError
from ..text.visible import visible, visible_json, visible_line


def say(text: str = "", *, nl: bool = True, err: bool = False) -> None:
    """Print text, maybe of several lines, with its control characters as visible escapes."""
    click.echo(visible(text), nl=nl, err=err)


def say_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(visible_json(value))


class VisibleFormatter(logging.Formatter):
    """A record as one line without control characters; the lines of a traceback below it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible_line(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        return visible(super().formatException(ei))


def log_to_terminal(level: int) -> None:
    """Send what is logged to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter("%(message)s"))
    logging.basicConfig(level=level, handlers=[handler])


@contextmanager
def visible_errors() -> Iterator[None]:
    """Errors of our tree are one message and exit code 1, not a traceback; all messages are shown as `say` shows text.

    A fault of our own, an exception of any other kind, is shown with its traceback, as `say` shows text.
    """
    try:
        yield
    except MemoRAGError as error:
        raise click.ClickException(visible(str(error))) from error
    except click.UsageError as error:
        message = error.format_message()
        if visible(message) == message:  # also the "error" that is the help of a command without arguments
            raise
        raise click.UsageError(visible(message), ctx=error.ctx) from error
    except click.ClickException as error:
        raise click.ClickException(visible(error.format_message())) from error
    except (click.Abort, click.exceptions.Exit, BrokenPipeError):
        raise
    except Exception as error:
        say("".join(traceback.format_exception(error)).rstrip(), err=True)
        raise click.exceptions.Exit(1) from error
