"""Tasks as MCP Atlas has them: a question and tools on a server, and an answer that its grader takes.

They share with repairs the models, their money and the care for tool calls. There is no patch, so there is no gate.
"""
