"""The session with the OpenHands SDK, run by the Python of its own environment, as its documentation's first example.

    python openhands_session.py MODEL URL TASK IMAGE MOUNTS

Without an IMAGE the agent works on the host; else in a container of it, with the volumes of MOUNTS, a JSON list.
"""

# mypy: ignore-errors
from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from openhands.sdk import LLM, Agent, Conversation, Tool
from openhands.tools.terminal import TerminalTool
from pydantic import SecretStr


def main() -> None:
    model, url, task, image, mounts = sys.argv[1:]
    with ExitStack() as stack:
        workspace = str(Path.cwd())
        if image:
            from openhands.workspace import DockerWorkspace

            made = DockerWorkspace(server_image=image, volumes=json.loads(mounts), forward_env=[])
            workspace = stack.enter_context(made)
        llm = LLM(model=model, api_key=SecretStr("loopback-key-0123456789"), base_url=url)
        agent = Agent(llm=llm, tools=[Tool(name=TerminalTool.name)])
        conversation = Conversation(agent=agent, workspace=workspace)
        conversation.send_message(task)
        conversation.run()
        conversation.close()


if __name__ == "__main__":
    main()
