"""What the wallet says of a key, over real sockets."""

import pytest
from tests.exchange.stub import Say, Stub, error, signed_well

from executor.exchange.binance import BinanceExchange
from executor.exchange.permissions import KeyPermissions, key_permissions
from executor.exchange.port import ReadError

PATH = "GET /sapi/v1/account/apiRestrictions"
ANSWER = {
    "ipRestrict": True,
    "createTime": 1_698_645_219_000,
    "enableReading": True,
    "enableWithdrawals": False,
    "enableInternalTransfer": False,
    "enableMargin": False,
    "enableFutures": False,
    "permitsUniversalTransfer": False,
    "enableVanillaOptions": False,
    "enableFixApiTrade": False,
    "enableFixReadOnly": True,
    "enableSpotAndMarginTrading": True,
    "enablePortfolioMarginTrading": False,
}


async def test_they_are_read_by_a_signed_request_to_the_wallet(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(PATH, Say(json=ANSWER))
    found = await key_permissions(exchange.connection)
    assert found == KeyPermissions(ip_restrict=True, withdrawals=False, spot=True, margin=False)
    assert signed_well(stub.last(PATH))


@pytest.mark.parametrize(
    "answer",
    [error(401, -2015, "Invalid API-key, IP, or permissions for action."), Say(status=404, text="<html>")],
)
async def test_an_exchange_without_a_wallet_is_told(stub: Stub, exchange: BinanceExchange, answer: Say) -> None:
    stub.script(PATH, *[answer] * 4)
    with pytest.raises(ReadError, match="account/apiRestrictions"):
        await key_permissions(exchange.connection)


async def test_an_answer_that_is_none(stub: Stub, exchange: BinanceExchange) -> None:
    stub.script(PATH, *[Say(json={"ipRestrict": True})] * 4)
    with pytest.raises(ReadError):
        await key_permissions(exchange.connection)
