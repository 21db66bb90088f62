"""What an API key may do, as the wallet tells it (`GET /sapi/v1/account/apiRestrictions`; not on testnet and demo)."""

import msgspec

from executor.decoding import decode
from executor.exchange.transport.connection import Connection
from executor.exchange.wire import calls


class KeyPermissions(msgspec.Struct, frozen=True, kw_only=True):
    """`ip_restrict`: only named addresses may use the key. `margin`: it may borrow and repay; None where that is not
    told.
    """

    ip_restrict: bool = msgspec.field(name="ipRestrict")
    withdrawals: bool = msgspec.field(name="enableWithdrawals")
    spot: bool = msgspec.field(name="enableSpotAndMarginTrading")
    margin: bool | None = msgspec.field(name="enableMargin", default=None)


async def key_permissions(connection: Connection) -> KeyPermissions:
    """Raises ReadError, also where the exchange has no such answer."""
    return await connection.read(calls.KEY_PERMISSIONS, {}, lambda reply: decode(reply.body, KeyPermissions))
