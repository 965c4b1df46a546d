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
        ├── StorageFailed            the storage of webhooks could not be read or written
        ├── ApiError                 the service refused the request, with an error code
        │   └── AccessDenied         the credentials do not permit to read this resource
        └── WindowTooLarge           the service requires a shorter window
"""

from __future__ import annotations

import re

#: Most characters of a service's text that a message quotes.
MAX_QUOTE = 500
_NUMBER = re.compile(r"\+?\d(?:[ ().-]{0,2}\d){9,14}")
#: Start of an HTML page sent in place of data; servers and proxies leave out most of the tags.
_PAGE = re.compile(rb"\s*<(?:!doctype\s+html|html|head|body|title|h[1-6]|p)\b", re.IGNORECASE)
_SAYS = re.compile(rb"<(?:title|body|h[1-6]|p)\b[^<>]*>([^<]*)", re.IGNORECASE)
_MARKUP = re.compile(rb"[<>{}\[\]]")
#: Bytes at the start of a page that are searched.
_PAGE_BYTES = 20_000


class TextliftError(Exception):
    """Base of every error of this project; its text is written for the person who runs it."""


class ConfigurationError(TextliftError):
    """A setting is missing or cannot be used. Nothing was loaded."""


class CredentialsError(ConfigurationError):
    """The service refused the credentials or the company. A retry cannot help."""


class AlreadyRunning(TextliftError):
    """Another run of the same pipeline is active. Nothing was loaded."""


class DestinationFailed(TextliftError):
    """The warehouse could not be loaded. Packages committed before stay."""


class ServiceError(TextliftError):
    """The service could not be read, or its response cannot be loaded."""


class TransientError(ServiceError):
    """A failure that may pass.

    Args:
        message: What happened.
        retry_after: Seconds to wait, if the service states them.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ResponseTimeout(TransientError):
    """The service did not respond in time."""


class MalformedResponse(TransientError):
    """The response holds the requested data, but is cut short or garbled.

    Args:
        message: What is wrong with it.
        body: The response, as text.
    """

    def __init__(self, message: str, body: str) -> None:
        super().__init__(message)
        self.body = body


class ApiError(ServiceError):
    """The service refuses the request and says why.

    Args:
        message: What happened.
        code: The service's own code for the reason, or the HTTP status.
    """

    def __init__(self, message: str, code: int | str) -> None:
        super().__init__(message)
        self.code = code


class AccessDenied(ApiError):
    """The credentials do not permit to read this resource.

    Other resources can be readable. If none is, the credentials are wrong.
    """


class StorageFailed(ServiceError):
    """The storage of webhooks could not be read or written."""


class WindowTooLarge(ServiceError):
    """The service refuses a window because it holds too many rows."""


def is_denied(error: BaseException) -> bool:
    """Return whether an error is, or was caused by, :class:`AccessDenied`."""
    return isinstance(error, AccessDenied) or isinstance(error.__cause__, AccessDenied)


def spoken(body: bytes) -> str:
    """Return the message of an HTML page or of plain text.

    Anything else may be personal data, so the result is empty.
    """
    body = body[:_PAGE_BYTES].removeprefix(b"\xef\xbb\xbf")
    if _PAGE.match(body):
        said = next((text for text in _SAYS.findall(body) if text.strip()), b"")
    else:
        said = b"" if _MARKUP.search(body) else body
    text = quote(said.decode("utf-8", "replace"))
    return text if text.isprintable() else ""


def quote(text: str) -> str:
    """Return a service's text, shortened and without anything that may be a phone number."""
    return _NUMBER.sub("…", " ".join(text.split()))[:MAX_QUOTE]
