"""The exceptions of all sources.

::

    TextliftError
    ├── ConfigurationError           a setting is missing or wrong
    │   └── CredentialsError         the service refused the credentials or the company
    ├── AlreadyRunning               another run of the pipeline is active
    ├── DestinationFailed            the warehouse could not be loaded
    └── ServiceError                 the service could not be read
        ├── TransientError           retriable: the client sends the request again
        │   ├── ResponseTimeout      no response in time
        │   └── MalformedResponse    a response that is cut short or garbled
        ├── ApiError                 the service refused the request, with an error code
        └── WindowTooLarge           the service requires a shorter window
"""

from __future__ import annotations

import re

#: Longest text of a service that is repeated in a message.
MAX_QUOTE = 500
_NUMBER = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){9,14}")
#: A page is one of these in the place of data; web servers and proxies leave out most of the tags.
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|title|h[1-6]|p)\b", re.IGNORECASE)
_SAYS = re.compile(rb"<(?:title|body|h[1-6]|p)\b[^<>]*>([^<]*)", re.IGNORECASE)
_MARKUP = re.compile(rb"[<>{}\[\]]")
#: Bytes of a page that are looked at.
_PAGE_BYTES = 20_000


class TextliftError(Exception):
    """Base of every error this project raises; its text is meant for the person who runs it."""


class ConfigurationError(TextliftError):
    """A setting is missing or cannot be used. Nothing was loaded."""


class CredentialsError(ConfigurationError):
    """The service refused the credentials or the company. Trying again cannot help."""


class AlreadyRunning(TextliftError):
    """Another run of the same pipeline is under way. Nothing was loaded."""


class DestinationFailed(TextliftError):
    """The warehouse could not be loaded. What was committed before stays."""


class ServiceError(TextliftError):
    """The service answered with something that cannot be loaded."""


class TransientError(ServiceError):
    """A failure that may pass.

    Args:
        message: What happened.
        retry_after: Seconds the service asked to wait, if it did.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ResponseTimeout(TransientError):
    """The service did not answer in time."""


class MalformedResponse(TransientError):
    """The answer holds what was asked for, but is cut short or garbled.

    Args:
        message: What is wrong with it.
        body: The answer, as text.
    """

    def __init__(self, message: str, body: str) -> None:
        super().__init__(message)
        self.body = body


class ApiError(ServiceError):
    """The service refuses the question and says why.

    Args:
        message: What happened.
        code: The service's own code for the reason, or the HTTP status.
    """

    def __init__(self, message: str, code: int | str) -> None:
        super().__init__(message)
        self.code = code


class WindowTooLarge(ServiceError):
    """The service refuses a window because there is too much in it."""


def spoken(body: bytes) -> str:
    """What a page says, or a sentence of plain text; nothing else, which may be people's data."""
    body = body[:_PAGE_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(body):
        said = next((text for text in _SAYS.findall(body) if text.strip()), b"")
    else:
        said = b"" if _MARKUP.search(body) else body
    text = quote(said.decode("utf-8", "replace"))
    return text if text.isprintable() else ""


def quote(text: str) -> str:
    """What a service says, short, and without anything that may be a phone number."""
    return _NUMBER.sub("…", " ".join(text.split()))[:MAX_QUOTE]
