"""Draws without an end, which Ctrl-C must stop."""

import os
import signal
import subprocess
import sys

# Follows a program that sets `arrays` and the function `draw`, which fills them.
ENDLESS = """
import os
import signal
import time
import numpy as np
from initlib.stream import config, engine, kernel, threads
from initlib.stream.runs import Runs

signal.signal(signal.SIGINT, signal.default_int_handler)  # scripts in the background ignore the signal
row = arrays[0].size
endless = Runs(np.arange(2**16, dtype=np.uint64) * row, np.zeros(2**16, np.int64), row, row, 0, 0, None, None)
piece = engine.Pieces(arrays[0].shape, 2**15)[0]

def reported(function):
    def call(*arguments):
        os.write(1, b"drawing\\n")  # one system call, which other threads cannot split
        return function(*arguments)
    return call

try:
    if config.kernel is None:
        engine.Pieces = lambda shape, most: iter(reported(lambda: piece), None)  # the same piece without end
    else:
        kernel.runs = lambda *arguments: (endless,)
        share = threads.share
        threads.share = lambda work, *more: share(reported(work), *more)
    draw()
except KeyboardInterrupt:
    at_the_stop = [array.copy() for array in arrays]
    time.sleep(0.1)
    print("stopped", all(map(np.array_equal, arrays, at_the_stop)), flush=True)
"""


def assert_ctrl_c_stops(program, kernel):
    """Run a program whose draw would take hours. After Ctrl-C it ends, and no thread writes."""
    process = subprocess.Popen(
        [sys.executable, "-c", program + ENDLESS],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **({"INITLIB_KERNEL": kernel} if kernel else {})},
    )
    assert process.stdout.readline() == "drawing\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.splitlines()[-1] == "stopped True"
    assert process.returncode == 0
