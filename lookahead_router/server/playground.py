"""The page at `/`, as one file: it loads nothing, from nowhere."""

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import Response

_PAGE = Path(__file__).with_name("playground.html")


@cache
def _page() -> tuple[bytes, dict[str, str]]:
    text = _PAGE.read_text(encoding="utf-8")
    sources = {
        tag: " ".join(f"'sha256-{_hash(part)}'" for part in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
        for tag in ("script", "style")
    }
    policy = (
        f"default-src 'none'; script-src {sources['script']}; style-src {sources['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text.encode(), {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }


def page_response() -> Response:
    """The page, which may run its own script alone."""
    content, headers = _page()
    return Response(content, headers=headers, media_type="text/html")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
