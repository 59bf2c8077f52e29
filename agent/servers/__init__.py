"""The user's own MCP servers: what was asked for (`config`), their tools as a model may see them (`tools`), and
the sessions with them (`client`)."""
