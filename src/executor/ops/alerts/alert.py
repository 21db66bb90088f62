"""One alert."""

import msgspec

from executor.decoding import Ms
from executor.ops.alerts.kinds import Severity


class Alert(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`event` names its entry in the catalogue; `at`: when, in ms since 1970 by this machine's clock. `account`,
    `symbol`, `trade` and `orders` (client order ids with spaces between) say what it is about, empty where it is about
    none. `facts`: figures by name, for programs.
    """

    event: str
    text: str
    at: Ms
    severity: Severity
    symbol: str = ""
    trade: str = ""
    orders: str = ""
    facts: dict[str, str] = {}
    account: str = ""
