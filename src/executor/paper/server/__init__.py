"""The paper exchange's wire: Binance Spot's REST, WebSocket API, market and user streams on loopback.

`PaperServer` is the entrance; the engine, the clock and the recording live in `executor.paper`. A
request goes transport (`rest`, `ws_api`) → `exchange` → a handler found in `routes` → engine → `render`. No
handler knows which transport it serves.
"""

from executor.paper.errors import PortInUse
from executor.paper.server.faults import Answer, FaultPlan, PushFault, RequestFault
from executor.paper.server.limits import Limits
from executor.paper.server.server import PaperServer, Urls
from executor.paper.server.signing import Credential, HmacSecret, PublicKey

__all__ = [
    "Answer",
    "Credential",
    "FaultPlan",
    "HmacSecret",
    "Limits",
    "PaperServer",
    "PortInUse",
    "PublicKey",
    "PushFault",
    "RequestFault",
    "Urls",
]
