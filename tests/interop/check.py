"""Checks, what they print, and how they wait."""

import sys
import time
import traceback


class Failure(Exception):
    """What was expected and what was found instead."""


class Stop(Exception):
    """The rest of a group makes no sense without what has just failed."""


def expect(truth, what):
    """Fails with `what` (text, or something worth showing) unless `truth` holds."""
    if not truth:
        raise Failure(str(what))


def wait(what, seconds, probe, every=0.2):
    """The first true value that `probe()` returns within `seconds`.

    A probe that fails is asked again: it may ask a server that is only just starting.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            value, trouble = probe(), None
        except (Failure, OSError, ValueError, KeyError) as error:
            value, trouble = None, error
        if value:
            return value
        if time.monotonic() > end:
            last = f"; last: {trouble!r}" if trouble else ""
            raise Failure(f"waited {seconds} s for {what}{last}")
        time.sleep(every)


class Report:
    """Counts checks and prints a line for each: `ok` or `FAILED`, the words tests/run looks for."""

    def __init__(self):
        self.failed = 0

    def check(self, name, function, *arguments):
        """Runs one check and returns what it returned, or None when it failed."""
        started = time.monotonic()
        try:
            value = function(*arguments)
        except Exception as error:
            self.fail(name, error)
            return None
        say(f"ok      {name} ({time.monotonic() - started:.1f} s)")
        return value

    def need(self, name, function, *arguments):
        """A check without which the rest of its group cannot run."""
        before = self.failed
        value = self.check(name, function, *arguments)
        if self.failed > before:
            raise Stop
        return value

    def fail(self, name, error):
        self.failed += 1
        say(f"FAILED  {name}")
        if not isinstance(error, Failure):
            traceback.print_exception(error, file=sys.stdout)
        say(indent(str(error)))


def say(text):
    print(text, flush=True)


def indent(text):
    return "\n".join("        " + line for line in text.splitlines())
