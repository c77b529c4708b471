"""SIGINT and SIGTERM: a run that trains ends after its step, with a checkpoint; everything else ends at once."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

from qpeft.training.ranks import is_main, n_processes

SIGNALS = (signal.SIGINT, signal.SIGTERM)
FINISHING = "\nInterrupted: a checkpoint is written after this step; once more to stop at once, without it.\n"


class Interrupt:
    """For the length of a run: the first signal is noted while ``patient`` is set, any other is a KeyboardInterrupt.

    Attributes:
        patient: Whether somebody asks `asked` soon.
        asked: Whether a signal came.
    """

    def __init__(self) -> None:
        self.patient, self.asked = False, False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        """Take the signals over, in the main thread; others get none."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._come) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give them back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _come(self, number: int, frame: FrameType | None) -> None:
        # A launcher passes on what its processes got from the terminal already: there twice is once.
        if not self.patient or (self.asked and n_processes() == 1):
            raise KeyboardInterrupt
        first, self.asked = not self.asked, True
        if first and is_main():
            os.write(2, FINISHING.encode())  # print may be in the middle of printing
