"""How alerts leave this machine: what the environment says of proxies and certificates, read so that nothing of it can
keep a service from starting (rule 8.9).

The HTTP library refuses to be built at all with a NO_PROXY, a proxy or a CA file that it can't read. Here what can't be
used is named, and left out; requests then leave directly, with the certificates that come with the library.
"""

import os
import ssl
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from http.cookiejar import CookieJar, DefaultCookiePolicy
from importlib.util import find_spec
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

import httpx

from executor.config import Settings
from executor.files import try_regular

SCHEMES: Final = ("http", "https")
SOCKS: Final = ("socks5", "socks5h")
NO_PROXY: Final = ("NO_PROXY", "no_proxy")


class Outgoing(NamedTuple):
    """`remarks`: what of the environment can't be used as it is; one sentence each, none with a password in it."""

    client: httpx.AsyncClient
    remarks: tuple[str, ...]


class _Proxy(NamedTuple):
    """`name`: the variable that names it. `url` None: what it says is no proxy that can be used; see `fault`."""

    name: str
    url: str | None
    fault: str = ""


def http_client(settings: Settings, environ: Mapping[str, str] = os.environ) -> Outgoing:
    """A client for the addresses that alerts go to, and what was left out. It never raises, and must be closed."""
    context, remarks = _certificates(environ)
    mounts: dict[str, httpx.AsyncBaseTransport | None] = {}
    for target in _targets(settings):
        proxy = proxy_of(target, environ)
        if proxy is None:
            continue
        if proxy.url is not None:
            try:
                transport = httpx.AsyncHTTPTransport(verify=context, proxy=proxy.url, trust_env=False)
            except (ValueError, ImportError, httpx.InvalidURL) as error:
                proxy = _Proxy(proxy.name, None, f"{_shown(environ[proxy.name])}, which can't be used ({error})")
            else:
                mounts[f"{target.scheme}://{target.netloc}"] = transport
        if proxy.fault:
            remarks.append(f"{proxy.name} was {proxy.fault}; alerts leave without a proxy")
    client = httpx.AsyncClient(
        follow_redirects=False, trust_env=False, verify=context, mounts=mounts, cookies=_no_cookies()
    )
    return Outgoing(client, tuple(dict.fromkeys(remarks)))


def _no_cookies() -> CookieJar:
    """One that keeps none: what an answer leaves behind must not be in the way of every later request."""
    return CookieJar(DefaultCookiePolicy(allowed_domains=()))


def about_exchange(settings: Settings, environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """What the environment says and the way to the exchange does not heed."""
    urls = settings.endpoints
    if urls is None:
        return ()
    found: dict[str, str] = {}
    for url in urls:
        target = urlsplit(url.replace("ws", "http", 1) if url.startswith("ws") else url)
        proxy = proxy_of(target, environ)
        if proxy is not None:
            found[proxy.name] = _shown(environ[proxy.name])
    return tuple(
        f"{name} is {shown}, and is not used for the exchange: the environment must not redirect orders. Its requests "
        "leave directly; where the key is bound to an address, that must be this machine's own"
        for name, shown in found.items()
    )


def proxy_of(target: SplitResult, environ: Mapping[str, str]) -> _Proxy | None:
    """The proxy that the environment wants for requests to `target`; None for none."""
    if covered(target, _first(environ, NO_PROXY)):
        return None
    scheme = target.scheme
    for name in (f"{scheme.upper()}_PROXY", f"{scheme}_proxy", "ALL_PROXY", "all_proxy"):
        # Of HTTP_PROXY the web servers' old trap: a header "Proxy" becomes that variable in a CGI's environment.
        if name == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
            continue
        text = environ.get(name, "").strip()
        if text:
            return _read_proxy(name, text)
    return None


def _read_proxy(name: str, text: str) -> _Proxy:
    url = text if "://" in text else f"http://{text}"
    must = "must be a proxy's URL such as http://127.0.0.1:3128"
    try:
        parts = urlsplit(url)
        sound = bool(parts.hostname) and parts.port != 0
    except ValueError:  # no such port, no such address
        sound = False
        parts = SplitResult("", "", "", "", "")
    if sound and parts.scheme in SCHEMES:
        return _Proxy(name, url)
    if sound and parts.scheme in SOCKS:
        if find_spec("socksio") is not None:
            return _Proxy(name, url)
        return _Proxy(name, None, f"{_shown(text)}, {must}: for SOCKS the package socksio is missing")
    return _Proxy(name, None, f"{_shown(text)}, {must}")


def covered(target: SplitResult, no_proxy: str) -> bool:
    """Whether NO_PROXY leaves the host out: `*`, a name and what ends in it, an address, a network; each with a port
    where it is meant for that port alone. What is none of these covers nothing.
    """
    host = (target.hostname or "").rstrip(".").lower()
    return any(_covers(each.strip().lower(), host, target) for each in no_proxy.split(","))


def _covers(entry: str, host: str, target: SplitResult) -> bool:
    if not entry:
        return False
    if entry == "*":
        return True
    entry = entry.partition("://")[2] or entry
    try:
        network = ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return _covers_name(entry, host, target)
    try:
        address = ip_address(host)
    except ValueError:
        return False
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None and network.version == 4:
        address = address.ipv4_mapped
    return address in network


def _covers_name(entry: str, host: str, target: SplitResult) -> bool:
    try:
        parts = urlsplit(f"//{entry}")
        name, port = parts.hostname, parts.port
        own = target.port
    except ValueError:  # no such port, no such address
        return False
    name = (name or "").removeprefix("*").strip(".")
    if not name or (port is not None and port != (own or {"https": 443}.get(target.scheme, 80))):
        return False
    return host == name or host.endswith("." + name)


@cache
def _bundled() -> ssl.SSLContext:
    """The authorities that come with the library, read once: they are many."""
    return httpx.create_ssl_context(trust_env=False)


def _certificates(environ: Mapping[str, str]) -> tuple[ssl.SSLContext, list[str]]:
    """As the HTTP library: SSL_CERT_FILE, else SSL_CERT_DIR, else the authorities that come with it."""
    wanted = next(((name, environ[name]) for name in ("SSL_CERT_FILE", "SSL_CERT_DIR") if environ.get(name)), None)
    if wanted is None:
        return _bundled(), []
    name, path = wanted
    is_file = name == "SSL_CERT_FILE"
    must = "must be a PEM file with certificates" if is_file else "must be a folder with certificates"
    try:
        if not is_file:
            with os.scandir(path):  # the library takes a folder that is not there for an empty one
                pass
        else:
            try_regular(Path(path))
        return ssl.create_default_context(cafile=path if is_file else None, capath=None if is_file else path), []
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or getattr(error, "reason", None) or "a path that no file can have"
        remark = f"{name} was {path!r}, {must} ({why}); alerts go by the authorities that come with the library"
        return _bundled(), [remark]


def _targets(settings: Settings) -> Iterator[SplitResult]:
    if settings.telegram_bot_token is not None:
        yield urlsplit(settings.telegram_api_url)
    if settings.alert_webhook_url is not None:
        yield urlsplit(settings.alert_webhook_url.get_secret_value())


def _first(environ: Mapping[str, str], names: Iterable[str]) -> str:
    return next((environ[name] for name in names if environ.get(name, "").strip()), "")


def _shown(text: str) -> str:
    """As it was written, without a name and a password in it."""
    before, at, after = text.strip().rpartition("@")
    if at:
        text = f"{before.partition('://')[0]}://***@{after}" if "://" in before else f"***@{after}"
    return repr(text.strip())
