"""What the Python programs share: where to connect, and how to check."""

import os
import sys
import time

HOST = "127.0.0.1"
PORT = int(os.environ["DRIVER_PORT"])
DATABASE = os.environ["DRIVER_DATABASE"]
USER = os.environ["DRIVER_USER"]
PASSWORD = os.environ["DRIVER_PASSWORD"]


def same(what, got, wanted):
    """Ends the program with a clear sentence when two values differ."""
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")


def step(name):
    """Says how far the program has come."""
    print(f"ok {name}", flush=True)


def until(what, holds):
    """Asks again until it holds, since a replica may be a moment behind; ends the program when it never does."""
    deadline = time.monotonic() + 30
    while not holds():
        same(f"{what} within 30 s", time.monotonic() < deadline, True)
        time.sleep(0.02)
