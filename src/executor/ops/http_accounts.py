"""Pages, health, metrics and status of a process that trades several accounts; reading only, as `ops.http`.

/         the accounts that are traded here, what they hold, and links to
/account/NAME/  the page of one, with its /events and /static/, and what the links on it lead to
/healthz  200 while the event loop runs
/readyz   200 when every account that is traded here has its loops ready, and they come round; else 503, with reasons
/metrics  Prometheus' text format: what each account alone would show, with the label `account`
/status   by account, what `executor status --format json` prints
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final
from urllib.parse import quote

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from executor.ops import status, text
from executor.ops.http import listen, page_file, page_index
from executor.ops.metrics import Metrics
from executor.ops.page.access import PageAccess
from executor.ops.page.accounts import AccountPages, overview
from executor.ops.ready import unready
from executor.ops.serving import serving
from executor.service.loop import Loop

_OF_THE_PROCESS: Final = ("process_", "executor_loop_lag")

Loops = Mapping[str, Mapping[str, Loop]]


class AccountsHttp:
    """Binds at once; `run` serves until cancelled. `loops` and `metrics`: what there is now, by account; `more`: the
    process's own metrics. `faults`: why it is not ready, beside its loops; `access`: who may read.
    """

    def __init__(
        self,
        host: str,
        port: int,
        loops: Callable[[], Loops],
        metrics: Callable[[], Mapping[str, Metrics]],
        more: Collection[Collector] = (),
        faults: Callable[[], list[str]] = list,
        access: PageAccess | None = None,
        pages: AccountPages | None = None,
    ) -> None:
        """Raises HttpUnusable."""
        self._access = access or PageAccess(host)
        self._pages = pages
        self._loops = loops
        self._faults = faults
        self._registry = CollectorRegistry()
        self._registry.register(_Merged(metrics))
        for each in more:
            self._registry.register(each)
        self._socket = listen(host, port)
        self.port: int = self._socket.getsockname()[1]

    async def run(self) -> None:
        routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
            "/": self._overview,
            "/static/{name}": self._static,
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }
        of_one = {
            "": self._to_page,
            "/": self._page,
            "/events": self._events,
            "/static/{name}": self._static,
            "/status": self._status_of_one,
        }
        routes |= {f"/account/{{account}}{path}": handler for path, handler in of_one.items()}
        for path in ("/healthz", "/readyz", "/metrics"):
            routes[f"/account/{{account}}{path}"] = routes[path]
        async with serving(routes, self._socket, self._access):
            await asyncio.Event().wait()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"alive": True}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        faults = [*self._faults(), *await self._unready()]
        return _json({"ready": not faults, "faults": faults}, 503 if faults else 200)

    async def _unready(self) -> list[str]:
        named = {f"{account} {symbol}": loop for account, of in self._loops().items() for symbol, loop in of.items()}
        return await unready(named)

    async def _metrics(self, _request: web.Request) -> web.Response:
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=generate_latest(self._registry), headers=kind)

    async def _status(self, _request: web.Request) -> web.Response:
        return _json({account: _statuses(of) for account, of in self._loops().items()}, 200)

    async def _overview(self, _request: web.Request) -> web.Response:
        return web.Response(text=overview(self._loops()), content_type="text/html")

    async def _static(self, request: web.Request) -> web.StreamResponse:
        return page_file(request.match_info["name"])

    async def _to_page(self, request: web.Request) -> web.StreamResponse:
        account = self._account_of(request)
        return web.Response(status=302, headers={"Location": f"{quote(account, safe='')}/"})

    async def _page(self, request: web.Request) -> web.StreamResponse:
        self._account_of(request)
        return page_index()

    async def _events(self, request: web.Request) -> web.StreamResponse:
        account = self._account_of(request)
        if self._pages is None or account not in self._pages:
            raise web.HTTPNotFound(text=f"{account} has no page at the moment\n")
        return await self._pages.events(account, request)

    async def _status_of_one(self, request: web.Request) -> web.Response:
        return _json(_statuses(self._loops()[self._account_of(request)]), 200)

    def _account_of(self, request: web.Request) -> str:
        """Raises HTTPNotFound for one that is not traded here."""
        account = request.match_info["account"]
        if account not in self._loops():
            raise web.HTTPNotFound(text="no such account is traded here at the moment\n")
        return account


def _statuses(loops: Mapping[str, Loop]) -> list[status.Status]:
    return [status.status_of(loop.state, loop.engine.rules, running=True, now=loop.now()) for loop in loops.values()]


class _Merged(Collector):
    """The accounts' families, each once, with the account as a label; what is the process's own, once."""

    def __init__(self, metrics: Callable[[], Mapping[str, Metrics]]) -> None:
        self._metrics = metrics

    def describe(self) -> list[Metric]:
        return []  # they come and go

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for account, metrics in self._metrics().items():
            for family in metrics.registry.collect():
                of_all = family.name.startswith(_OF_THE_PROCESS)
                known = families.get(family.name)
                if known is None:
                    known = families[family.name] = Metric(family.name, family.documentation, family.type, family.unit)
                elif of_all:
                    continue
                for sample in family.samples:
                    labels = sample.labels if of_all else {"account": account, **sample.labels}
                    known.samples.append(sample._replace(labels=labels))
        yield from families.values()


def _json(value: object, code: int) -> web.Response:
    return web.Response(text=text.json(value), status=code, content_type="application/json")
