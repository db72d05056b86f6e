"""What a service under test does with one held link."""

from dataclasses import dataclass, field


@dataclass
class Handler:
    """Remembers the messages of one held link; answers as the service says."""

    service: object
    link: object
    messages: list = field(default_factory=list)
    codes: list = field(default_factory=list)

    def message(self, data):
        self.messages.append(data)
        return self.service.reply(data)

    def closed(self, code):
        self.codes.append(code)
