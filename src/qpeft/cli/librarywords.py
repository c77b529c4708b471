"""What transformers logs while a command shows bars: printed above them, each message once; nothing is silenced."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from transformers.utils.logging import disable_default_handler, disable_progress_bar, enable_default_handler

LIBRARIES = ("transformers",)


class Above(logging.Handler):
    """Prints a message once, on the console that draws the bars."""

    def __init__(self, console: Console) -> None:
        """Print on this console."""
        super().__init__(logging.WARNING)
        self.console, self.said = console, set[str]()

    def emit(self, record: logging.LogRecord) -> None:
        """Print it, unless it was printed before."""
        text = record.getMessage()
        if text not in self.said:
            self.said.add(text)
            self.console.print(f"{record.name.partition('.')[0]}: {text}", highlight=False, markup=False)


@contextmanager
def words_above(console: Console) -> Iterator[None]:
    """While this is open the libraries' own bars are off, which would break ours, and their words go above it."""
    above = Above(console)
    loggers = [logging.getLogger(name) for name in LIBRARIES]
    disable_progress_bar()
    disable_default_handler()
    for logger in loggers:
        logger.addHandler(above)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(above)
        enable_default_handler()
