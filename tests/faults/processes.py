"""Processes of the fault tests: forked from a server that has imported what all of them need."""

from __future__ import annotations

import multiprocessing
import os
import sys


def processes() -> multiprocessing.context.ForkServerContext:
    """Where processes are forked from a server that has loaded what each of them would load by itself."""
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)  # the server does not take sys.path over
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.faults.preloaded"])
    return context
