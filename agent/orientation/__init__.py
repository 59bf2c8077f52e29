"""What a model is told of a repository before it reads a file: a ranked map of its symbols, or all of its text."""
