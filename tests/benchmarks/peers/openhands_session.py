"""The session with the OpenHands SDK, run by the Python of its own environment, as its documentation's first example.

    python openhands_session.py MODEL URL TASK IMAGE NETWORK MOUNTS

Without an IMAGE the agent works on the host; else in a container of it in NETWORK, with the volumes of MOUNTS, a JSON
list.
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


def unlimited(run):
    """Without the number of open files that it asks for, more than an engine in a container may give."""

    def instead(command, *arguments, **named):
        if "--ulimit" in command:
            place = command.index("--ulimit")
            command = [*command[:place], *command[place + 2 :]]
        return run(command, *arguments, **named)

    return instead


def main() -> None:
    model, url, task, image, network, mounts = sys.argv[1:]
    with ExitStack() as stack:
        workspace = str(Path.cwd())
        if image:
            from openhands.workspace import DockerWorkspace
            from openhands.workspace.docker import workspace as module

            module.execute_command = unlimited(module.execute_command)
            made = DockerWorkspace(
                server_image=image, volumes=json.loads(mounts), forward_env=[], network=network
            )
            workspace = stack.enter_context(made)
        llm = LLM(model=model, api_key=SecretStr("loopback-key-0123456789"), base_url=url)
        agent = Agent(llm=llm, tools=[Tool(name=TerminalTool.name)])
        conversation = Conversation(agent=agent, workspace=workspace)
        conversation.send_message(task)
        conversation.run()
        conversation.close()


if __name__ == "__main__":
    main()
