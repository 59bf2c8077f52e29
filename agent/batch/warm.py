"""What the processes of a batch are forked from: everything imported that a run needs, and nothing running.

It is imported by that process alone. Its own group: what a terminal or a shell sends to the driver's does not end it.
"""

import gc
import os
from importlib import import_module

MODULES = (
    "agent.batch.clones",
    "agent.batch.tidy",
    "agent.gate.judge",
    "agent.gate.proof",
    "agent.gate.smaller",
    "agent.logs",
    "agent.models.sse",
    "agent.models.repair",
    "agent.report.page",
    "agent.run",
    "agent.servers.client",
    "agent.toolbox",
    "docker",
    "sandboxes.bubblewrap",
    "sandboxes.docker",
    "tenacity",
)

for name in MODULES:
    import_module(name)
os.setpgid(0, 0)
gc.collect()
gc.freeze()  # the collector else writes to each page, and then no page is shared
