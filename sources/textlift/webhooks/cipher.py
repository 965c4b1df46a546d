"""Encrypts segments with a key that is derived from ``sources.privacy_key``.

The policy applies when a load decodes the bodies, and not in the receiver: people who were erased
are recognized by what a policy may drop, and a mistake in a policy must not lose what was posted.
Until then, nobody without the key can read a body.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence

from textlift.errors import ConfigurationError, StorageFailed
from textlift.privacy.columns import KeyedHash
from textlift.privacy.erased import key_id

#: Begins an encrypted segment. Others begin with a brace.
_MARK = b"textlift segment 1\n"
_PURPOSE = b"textlift: segments of webhooks"
_ID_BYTES = 16
_NONCE_BYTES = 12


class SegmentCipher:
    """AES-256-GCM. The name of a segment is authenticated with its content.

    Args:
        keys: The secret key first, then earlier ones, with which segments can still be read.

    Raises:
        ConfigurationError: The package for it is not installed.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        try:
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError:
            raise ConfigurationError(
                "sources.privacy_key is set, so webhooks are encrypted, and the package for that is "
                "not installed.\nInstall the extra: pip install 'textlift[webhooks]'."
            ) from None
        secrets = [key.encode() for key in keys]
        self._ciphers = {
            key_id(KeyedHash(key)).encode(): AESGCM(hmac.digest(key, _PURPOSE, "sha256"))
            for key in secrets
        }

    def encrypt(self, data: bytes, name: str) -> bytes:
        """Return a segment encrypted with the first key."""
        id, cipher = next(iter(self._ciphers.items()))
        nonce = os.urandom(_NONCE_BYTES)
        return _MARK + id + nonce + cipher.encrypt(nonce, data, name.encode())

    def decrypt(self, data: bytes, name: str) -> bytes | None:
        """Return the content of an encrypted segment; ``None`` if no key is that of the segment.

        Raises:
            InvalidTag: It was changed.
        """
        data = data.removeprefix(_MARK)
        cipher = self._ciphers.get(data[:_ID_BYTES])
        nonce, sealed = data[_ID_BYTES:][:_NONCE_BYTES], data[_ID_BYTES + _NONCE_BYTES :]
        return cipher.decrypt(nonce, sealed, name.encode()) if cipher else None


def decrypted(data: bytes, name: str, cipher: SegmentCipher | None) -> bytes:
    """Return the content of a segment, which may be encrypted.

    Raises:
        StorageFailed: It is encrypted with a key that is not configured, or it was changed.
    """
    if not data.startswith(_MARK):
        return data
    try:
        content = cipher.decrypt(data, name) if cipher else None
    except Exception as error:  # noqa: BLE001 (the package that defines it is imported late)
        raise StorageFailed(
            f"the segment {name} of webhooks is damaged: {type(error).__name__}.\n"
            "Restore it from a copy, or move it away."
        ) from None
    if content is None:
        raise StorageFailed(
            f"the segment {name} of webhooks is encrypted with a key that is not configured.\n"
            "Set sources.privacy_key to the key of the receiver, or add that key to "
            "sources.earlier_privacy_keys."
        )
    return content
