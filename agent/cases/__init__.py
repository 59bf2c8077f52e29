"""Cases for evaluation, mined from a repository's own history."""
