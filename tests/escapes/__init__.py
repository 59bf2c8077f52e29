"""Attempts to leave a sandbox, or to harm the host from within: small hostile programs, each with what must hold.

    python -m tests.escapes.run      # all of them, as a table of counts

The cases know no driver: `drivers.py` opens sandboxes, `cell.py` is what a case sees of one.
"""
