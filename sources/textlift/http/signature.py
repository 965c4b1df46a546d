"""Authentication by signed paths: the parameters, a public key and a signature."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from urllib.parse import quote

import requests
from requests.auth import AuthBase

_SIGNATURE = re.compile(r"[0-9a-f]{64}", re.IGNORECASE)


class SignedPath(AuthBase):
    """Signs the parameters in the path of each request. Headers stay as they are.

    Args:
        public_key: Names the private key. It is sent, so whoever reads the URL knows it.
        private_key: Signs the parameters. It is never sent.
    """

    def __init__(self, public_key: str, private_key: str) -> None:
        self._public_key = public_key
        self._private_key = private_key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request unchanged: its path is signed before it is prepared."""
        return request

    def signature(self, values: Sequence[str]) -> str:
        """Return the HMAC-SHA256 of the values, joined by ``/``, in lower-case hexadecimal."""
        text = "/".join(values).strip("/")
        return hmac.new(self._private_key.encode(), text.encode(), hashlib.sha256).hexdigest()

    def suffix(self, values: Sequence[str]) -> str:
        """Return what follows a path with these parameters."""
        return f"/{quote(self._public_key, safe='')}/{self.signature(values)}"

    def hide(self, text: str) -> str:
        """Return a text without keys and signatures, which a service can repeat in a message."""
        for key in (self._public_key, quote(self._public_key, safe=""), self._private_key):
            text = text.replace(key, "…")
        return _SIGNATURE.sub("…", text)
