"""One note."""

import re
from dataclasses import asdict, dataclass, field


@dataclass
class Note:
    id: int
    text: str
    done: bool = False
    tags: list = field(default_factory=list)

    @classmethod
    def new(cls, number, text):
        """A note with the tags that its text names by `#`."""
        return cls(number, text, False, re.findall(r"#(\w+)", text))

    def line(self):
        return f"{self.id:>3} {'x' if self.done else ' '} {self.text}"

    def as_dict(self):
        return asdict(self)
