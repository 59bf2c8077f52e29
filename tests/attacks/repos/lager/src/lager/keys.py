"""Keys for calls."""


def make_key(args, kwargs):
    """A hashable key for the arguments of a call; the order of keywords does not matter."""
    return (tuple(args), tuple(sorted(kwargs.items())))
