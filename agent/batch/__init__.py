"""Many tasks over many repositories: a plain function takes task lines and an engine, and yields results."""
