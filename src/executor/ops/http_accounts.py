"""Health, metrics and status of a process that trades several accounts; reading only, as `ops.http`.

/healthz  200 while the event loop runs
/readyz   200 when every account that is traded here has its loops ready, and they come round; else 503, with reasons
/metrics  Prometheus' text format: what each account alone would show, with the label `account`
/status   by account, what `executor status --format json` prints
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from executor.ops import status, text
from executor.ops.http import listen
from executor.ops.metrics import Metrics
from executor.ops.page.access import PageAccess
from executor.ops.serving import serving
from executor.service.loop import Loop

TURN_S: Final = 2.0
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
    ) -> None:
        """Raises HttpUnusable."""
        self._access = access or PageAccess(host)
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
            "/healthz": self._healthz,
            "/readyz": self._readyz,
            "/metrics": self._metrics,
            "/status": self._status,
        }
        async with serving(routes, self._socket, self._access):
            await asyncio.Event().wait()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _json({"alive": True}, 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        faults = [*self._faults(), *await self._unready()]
        return _json({"ready": not faults, "faults": faults}, 503 if faults else 200)

    async def _unready(self) -> list[str]:
        named = [(f"{account} {symbol}", loop) for account, of in self._loops().items() for symbol, loop in of.items()]
        turns = {asyncio.create_task(loop.come_round()): name for name, loop in named}
        faults = [
            f"{name}: the start's look at the orders is not done" for name, loop in named if not loop.ready.is_set()
        ]
        if turns:
            _, late = await asyncio.wait(turns, timeout=TURN_S)
            for task in late:
                task.cancel()
            faults += [f"{turns[task]}: its loop did not come round within {TURN_S:.0f} s" for task in late]
        return faults

    async def _metrics(self, _request: web.Request) -> web.Response:
        kind = {"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        return web.Response(body=generate_latest(self._registry), headers=kind)

    async def _status(self, _request: web.Request) -> web.Response:
        found = {
            account: [
                status.status_of(loop.state, loop.engine.rules, running=True, now=loop.now()) for loop in of.values()
            ]
            for account, of in self._loops().items()
        }
        return _json(found, 200)


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
