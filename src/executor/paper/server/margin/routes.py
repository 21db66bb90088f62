"""The routing table of margin. Weights follow the documents of 2026-07, and count per endpoint."""

from typing import Final

from executor.paper.server.call import Budget, Route, Security
from executor.paper.server.margin import accounts, loans, orders, reference

_DATA, _TRADE, _KEY = Security.USER_DATA, Security.TRADE, Security.KEY
_IP, _UID = Budget.IP, Budget.UID
_M: Final = "/sapi/v1/margin"

MARGIN_ROUTES: Final = (
    # orders
    Route("POST", f"{_M}/order", None, orders.order_weight, _TRADE, orders.place, budget=_UID),
    Route("DELETE", f"{_M}/order", None, 10, _TRADE, orders.cancel, budget=_IP),
    Route("GET", f"{_M}/order", None, 10, _DATA, orders.query, budget=_IP),
    Route("POST", f"{_M}/order/oco", None, orders.order_weight, _TRADE, orders.place_oco, budget=_UID),
    Route("POST", f"{_M}/order/oto", None, orders.order_weight, _TRADE, orders.place_oto, budget=_UID),
    Route("POST", f"{_M}/order/otoco", None, orders.order_weight, _TRADE, orders.place_otoco, budget=_UID),
    Route("DELETE", f"{_M}/openOrders", None, 1, _TRADE, orders.cancel_all, budget=_IP),
    Route("GET", f"{_M}/openOrders", None, 10, _DATA, orders.open_orders, budget=_IP),
    Route("GET", f"{_M}/allOrders", None, 200, _DATA, orders.all_orders, budget=_IP),
    Route("DELETE", f"{_M}/orderList", None, 1, _TRADE, orders.cancel_list, budget=_UID),
    Route("GET", f"{_M}/orderList", None, 10, _DATA, orders.query_list, budget=_IP),
    Route("GET", f"{_M}/openOrderList", None, 10, _DATA, orders.open_lists, budget=_IP),
    Route("GET", f"{_M}/allOrderList", None, 200, _DATA, orders.all_lists, budget=_IP),
    Route("GET", f"{_M}/myTrades", None, 10, _DATA, orders.my_trades, budget=_IP),
    Route("GET", f"{_M}/rateLimit/order", None, 20, _TRADE, orders.order_count, budget=_IP),
    Route("GET", f"{_M}/myPreventedMatches", None, 10, _DATA, orders.own_prevented_matches, budget=_IP),
    # loans
    Route("POST", f"{_M}/borrow-repay", None, 1500, _DATA, loans.borrow_repay, budget=_UID),
    Route("GET", f"{_M}/borrow-repay", None, 10, _DATA, loans.loan_records, budget=_IP),
    Route("GET", f"{_M}/interestHistory", None, 1, _DATA, loans.interest_history, budget=_IP),
    Route("GET", f"{_M}/interestRateHistory", None, 1, _DATA, reference.rate_history, budget=_IP),
    Route("GET", f"{_M}/next-hourly-interest-rate", None, 100, _DATA, reference.next_rates, budget=_IP),
    Route("GET", f"{_M}/maxBorrowable", None, 750, _DATA, loans.max_borrowable, budget=_UID),
    Route("GET", f"{_M}/maxTransferable", None, 50, _DATA, loans.max_transferable, budget=_IP),
    Route("GET", f"{_M}/available-inventory", None, 50, _DATA, reference.inventory, budget=_UID),
    # accounts
    Route("GET", f"{_M}/account", None, 10, _DATA, accounts.cross_account, budget=_IP),
    Route("GET", f"{_M}/isolated/account", None, 10, _DATA, accounts.isolated_accounts, budget=_IP),
    Route("POST", f"{_M}/isolated/account", None, 300, _TRADE, accounts.enable_isolated, budget=_UID),
    Route("DELETE", f"{_M}/isolated/account", None, 300, _TRADE, accounts.disable_isolated, budget=_UID),
    Route("GET", f"{_M}/isolated/accountLimit", None, 1, _DATA, accounts.isolated_limit, budget=_IP),
    Route("GET", f"{_M}/tradeCoeff", None, 10, _DATA, accounts.bars, budget=_IP),
    Route("POST", f"{_M}/max-leverage", None, 3000, _DATA, accounts.set_leverage, budget=_UID),
    Route("GET", f"{_M}/forceLiquidationRec", None, 1, _DATA, accounts.liquidations, budget=_IP),
    Route("POST", f"{_M}/manual-liquidation", None, 3000, _TRADE, accounts.manual_liquidation, budget=_UID),
    Route("GET", "/sapi/v1/bnbBurn", None, 1, _DATA, accounts.bnb_burn, budget=_IP),
    Route("POST", "/sapi/v1/bnbBurn", None, 1, _DATA, accounts.set_bnb_burn, budget=_IP),
    # transfers
    Route("POST", "/sapi/v1/asset/transfer", None, 900, _DATA, loans.transfer, budget=_UID),
    Route("GET", "/sapi/v1/asset/transfer", None, 1, _DATA, loans.universal_transfers, budget=_IP),
    Route("GET", f"{_M}/transfer", None, 1, _DATA, loans.margin_transfers, budget=_IP),
    # for everybody
    Route("GET", f"{_M}/allPairs", None, 1, _KEY, reference.cross_pairs, budget=_IP),
    Route("GET", f"{_M}/isolated/allPairs", None, 1, _KEY, reference.isolated_pairs, budget=_IP),
    Route("GET", f"{_M}/allAssets", None, 1, _KEY, reference.all_assets, budget=_IP),
    Route("GET", f"{_M}/crossMarginData", None, reference.cross_data_weight, _DATA, reference.cross_data, budget=_IP),
    Route(
        "GET",
        f"{_M}/isolatedMarginData",
        None,
        reference.isolated_data_weight,
        _DATA,
        reference.isolated_data,
        budget=_IP,
    ),
    Route("GET", f"{_M}/isolatedMarginTier", None, 1, _DATA, reference.isolated_tiers, budget=_IP),
    Route("GET", f"{_M}/priceIndex", None, 10, _KEY, reference.price_index, budget=_IP),
    Route("GET", f"{_M}/crossMarginCollateralRatio", None, 100, _KEY, reference.collateral_ratios, budget=_IP),
    Route("GET", f"{_M}/delist-schedule", None, 100, _KEY, reference.nothing_listed, budget=_IP),
    Route("GET", f"{_M}/list-schedule", None, 100, _KEY, reference.nothing_listed, budget=_IP),
    Route("GET", f"{_M}/limit-price-pairs", None, 1, _KEY, reference.limit_price_pairs, budget=_IP),
    Route("GET", f"{_M}/restricted-asset", None, 1, _KEY, reference.restricted, budget=_IP),
    # streams
    Route("POST", "/sapi/v1/userListenToken", None, 1, _KEY, accounts.listen_token, budget=_UID),
    Route("POST", f"{_M}/listen-key", None, 1, _KEY, accounts.open_listen_key, budget=_UID),
    Route("PUT", f"{_M}/listen-key", None, 1, _KEY, accounts.extend_listen_key, budget=_UID),
    Route("DELETE", f"{_M}/listen-key", None, 3000, _KEY, accounts.close_listen_key, budget=_UID),
    *(
        Route(verb, path, None, 1, _KEY, accounts.retired, budget=_IP)
        for path in ("/sapi/v1/userDataStream", "/sapi/v1/userDataStream/isolated")
        for verb in ("POST", "PUT", "DELETE")
    ),
)
