"""What a paper exchange ends with, in words for people; apart from the exchange, which few programs need."""


class PaperError(Exception):
    """Why a paper exchange can't be set up, or can't go on."""


class RecordingError(PaperError, ValueError):
    """A recording that cannot be read; the message names the file, the line and the field."""


class PortInUse(PaperError):  # noqa: N818 - named for the condition
    """Another program listens where the exchange was to listen."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__(f"port {port} of {host} is in use; choose another, or 0 for any free one")
        self.host = host
        self.port = port
