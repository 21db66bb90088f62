"""Who may read over HTTP, and what a browser may do with it.

Without a token only this machine is listened to, and only under its own names: a web page elsewhere whose name was made
to lead here (DNS rebinding) still sends that name as Host, and is refused. With one, every request shows it.
"""

import hashlib
import hmac
from http import HTTPStatus
from typing import Final

from aiohttp import web

from executor.config import Settings
from executor.config.kinds import is_loopback

OPEN: Final = frozenset({"/healthz"})
"""Says nothing but that the process lives; those who look every few seconds need no secret for it."""
COOKIE_S: Final = 30 * 24 * 3600

HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class PageAccess:
    """Of a server on `host`; `token` None: this machine alone."""

    @classmethod
    def of(cls, settings: Settings) -> "PageAccess":
        token = settings.http_token
        return cls(settings.http_host, None if token is None else token.get_secret_value())

    def __init__(self, host: str = "127.0.0.1", token: str | None = None) -> None:
        self._host = host.lower()
        self._token = token

    def refusal(self, request: web.Request) -> web.Response | None:
        """What is said to one who may not read; None to one who may."""
        if self._token is None:
            name = host_name(request.headers.get("Host", ""))
            if is_loopback(name) or name == self._host:
                return None
            return _said(
                HTTPStatus.MISDIRECTED_REQUEST,
                "Not under this name: ask for 127.0.0.1, localhost or HTTP_HOST, or set HTTP_TOKEN.",
            )
        if request.path in OPEN or self._is_shown(request, self._token):
            return None
        given = request.query.get("token")
        if given is not None and _same(given, self._token):
            return self._welcome(request, self._token)
        answer = _said(
            HTTPStatus.UNAUTHORIZED, "HTTP_TOKEN is wanted: as 'Authorization: Bearer ...', or once as ?token=..."
        )
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer

    def _is_shown(self, request: web.Request, token: str) -> bool:
        kind, _, shown = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() == "bearer" and _same(shown.strip(), token):
            return True
        return _same(request.cookies.get(_cookie_name(token), ""), _cookie(token))

    def _welcome(self, request: web.Request, token: str) -> web.Response:
        """Keep the token out of the address bar, its history and bookmarks: the browser goes on with a cookie."""
        here = request.rel_url.raw_path.rpartition("/")[2]  # from where it is: whatever a proxy has put before it
        answer = web.Response(status=HTTPStatus.SEE_OTHER, headers={"Location": f"./{here}"})
        answer.set_cookie(
            _cookie_name(token), _cookie(token), max_age=COOKIE_S, httponly=True, samesite="Lax", path="/"
        )
        return answer


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets."""
    text = header.strip().lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.rpartition(":")[0] if text.count(":") == 1 else text


async def add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    """To every answer, before it goes: refusals and errors as well."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


def _cookie(token: str) -> str:
    """Shows that the browser had the token, and does not tell it."""
    return hmac.new(token.encode(), b"executor page", hashlib.sha256).hexdigest()


def _cookie_name(token: str) -> str:
    """One for each token: cookies know no ports, and several services may share a host."""
    return "executor_" + hashlib.sha256(token.encode() + b" name").hexdigest()[:8]


def _same(shown: str, wanted: str) -> bool:
    return hmac.compare_digest(shown.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass"))


def _said(status: HTTPStatus, words: str) -> web.Response:
    return web.Response(status=status, text=words + "\n")
