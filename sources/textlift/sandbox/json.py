"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from textlift.sandbox.server import Response


def json_answer(status: int, document: Any, **headers: str) -> Response:
    """An answer with a document as its body."""
    try:
        body = json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half an emoji, as a text cut at a length can end in
        body = json.dumps(document).encode()
    return Response(status, body, {"Content-Type": "application/json; charset=utf-8", **headers})
