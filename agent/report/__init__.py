"""A run told to others: the page, the short of it on a terminal, exports. All of it is read from events."""
