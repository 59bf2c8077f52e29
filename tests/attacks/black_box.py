"""Runs a check on a tree from outside: `black_box.py HOW TOKEN < check`; the tree's packages are on PYTHONPATH.

Prints TOKEN and what was measured as JSON when the check is through. HOW is "plain", "clock" (ten years later),
"lines" (counts the lines run of the tree), "peak" (the most memory) or "slept".
"""

import datetime
import json
import os
import sys
import time
import tracemalloc

how, token = sys.argv[1:3]
root = os.environ["PYTHONPATH"]
source = sys.stdin.read()
write, dumps, settrace = sys.stdout.write, json.dumps, sys.settrace
measured = {"lines": 0, "peak": 0, "slept": 0.0}


def eq(actual, expected):
    """Strictly: an object that says of itself that it is equal to everything is not."""
    if type(actual) is not type(expected) or repr(actual) != repr(expected):
        raise AssertionError(f"{actual!r} is not {expected!r}")


def raises(kind, function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except kind:
        return
    raise AssertionError(f"{function!r} does not raise {kind}")


def later():
    ahead = 10 * 365.25 * 86400
    now = time.time
    time.time = lambda: now() + ahead

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

    class LaterDate(datetime.date):
        @classmethod
        def today(cls):
            return cls.fromtimestamp(time.time())

    datetime.datetime, datetime.date = Later, LaterDate


def tracer(frame, event, argument):
    if not frame.f_code.co_filename.startswith(root):
        return None
    measured["lines"] += event == "line"
    return tracer


if how == "clock":
    later()
if how == "peak":
    tracemalloc.start()
if how == "slept":
    nap = time.sleep

    def sleep(seconds):
        measured["slept"] += seconds

    time.sleep = sleep
code = compile(source, "check", "exec")
if how == "lines":
    settrace(tracer)
try:
    exec(code, {"__name__": "check", "eq": eq, "raises": raises})
finally:
    settrace(None)
if how == "peak":
    measured["peak"] = tracemalloc.get_traced_memory()[1]
write(f"\n{token} {dumps(measured)}\n")
sys.stdout.flush()
