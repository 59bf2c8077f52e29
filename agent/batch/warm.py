"""What the processes of a batch are forked from: everything imported that a run needs, and nothing running.

It is imported by that process alone. Its own group: what a terminal or a shell sends to the driver's does not end it.
"""

import gc
import os

import docker  # noqa: F401
import mcp  # noqa: F401

import sandboxes.bubblewrap
import sandboxes.docker  # noqa: F401

os.setpgid(0, 0)
gc.collect()
gc.freeze()  # the collector else writes to each page, and then no page is shared
