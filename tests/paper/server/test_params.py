from decimal import Decimal

import pytest

from executor.paper.server import errors
from executor.paper.server.errors import ApiError
from executor.paper.server.params import SYMBOLS, Params, json_text, parse_form


def refused(code: int, message: str | None = None) -> pytest.RaisesExc[ApiError]:
    return pytest.raises(ApiError, check=lambda error: error.code == code and (message is None or error.msg == message))


def test_a_missing_parameter_is_named() -> None:
    with refused(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."):
        Params({}).text("symbol")


def test_an_empty_parameter_is_named() -> None:
    with refused(-1105, "Parameter 'symbol' was empty."):
        Params({"symbol": ""}).symbol()


@pytest.mark.parametrize("text", ["1,5", "1e3", "-1", ".5", "1.", "NaN", " 1", "1 ", "+1", "0x1", "1" * 21])
def test_a_number_is_digits_and_a_point(text: str) -> None:
    with refused(-1100):
        Params({"quantity": text}).decimal("quantity")


def test_a_number_is_read_exactly() -> None:
    assert Params({"quantity": "0.10000000000000000001"}).decimal("quantity") == Decimal("0.10000000000000000001")


@pytest.mark.parametrize("text", ["1.0", "-1", "abc", ""])
def test_an_integer_is_digits(text: str) -> None:
    with pytest.raises(ApiError):
        Params({"orderId": text}).integer("orderId")


def test_an_integer_beyond_64_bits_overflows() -> None:
    with refused(-1108, "Parameter 'orderId' overflowed."):
        Params({"orderId": str(2**63)}).integer("orderId")
    assert Params({"orderId": str(2**63 - 1)}).integer("orderId") == 2**63 - 1


@pytest.mark.parametrize("text", ["btcusdt", "BTC/USDT", "BTC USDT", "A" * 51, "BTC&USDT", "ÄaB", ""])
def test_a_symbol_has_its_characters(text: str) -> None:
    with refused(-1100 if text else -1105):
        Params({"symbol": text}).symbol()


@pytest.mark.parametrize("text", ["BTCUSDT", "币安人生USDT", "A" * 50, "1000SATS-USD_T.X", "ÄÖÜUSDT"])
def test_a_symbol_may_have_letters_of_any_script(text: str) -> None:
    """As the exchange prints its own rule since December 2025: 1 to 50 word characters but a to z, `-` and `.`."""
    assert Params({"symbol": text}).symbol() == text
    assert Params({"symbols": f'["{text}","X"]'}).optional_symbols() == [text, "X"]


@pytest.mark.parametrize("text", ['["A", "B"]', "[A]", '["a"]', '"A"', "[", '["A",]', '["A"]]', '["A""B"]'])
def test_symbols_are_a_json_array_without_white_space(text: str) -> None:
    with refused(-1100, f"Illegal characters found in parameter 'symbols'; legal range is '{SYMBOLS}'."):
        Params({"symbols": text}).optional_symbols()
    assert Params({"symbols": "[]"}).optional_symbols() == []


@pytest.mark.parametrize("text", ["has space", "ünicode", "a" * 37, "semi;colon"])
def test_a_client_order_id_has_its_characters(text: str) -> None:
    with refused(-1100):
        Params({"newClientOrderId": text}).optional_client_id("newClientOrderId")


def test_a_choice_outside_the_list_is_the_given_refusal() -> None:
    with refused(-1117, "Invalid side."):
        Params({"side": "buy"}).choice("side", {"BUY": 1}, errors.invalid_side)


def test_what_nobody_read_is_counted() -> None:
    params = Params({"symbol": "BTCUSDT", "side": "BUY", "foo": "1"})
    params.symbol()
    params.text("side")
    with refused(-1104, "Not all sent parameters were read; read '2' parameter(s) but was sent '3'."):
        params.finish()


def test_a_list_of_symbols_names_each_once() -> None:
    assert Params({"symbols": '["A","B"]'}).optional_symbols() == ["A", "B"]
    with refused(-1151):
        Params({"symbols": '["A","A"]'}).optional_symbols()
    for malformed in ("A,B", '{"A":1}', "[1]", '["a"]'):
        with refused(-1100):
            Params({"symbols": malformed}).optional_symbols()


def test_a_limit_is_cut_to_its_maximum() -> None:
    assert Params({"limit": "5000"}).limit(500, 1000) == 1000
    assert Params({}).limit(500, 1000) == 500
    with refused(-1100):
        Params({"limit": "0"}).limit(500, 1000)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("false", False), ("FALSE", False)])
def test_a_flag_is_true_or_false(text: str, value: bool) -> None:
    assert Params({"omitZeroBalances": text}).flag("omitZeroBalances") is value


def test_a_flag_is_nothing_else() -> None:
    with refused(-1100):
        Params({"omitZeroBalances": "1"}).flag("omitZeroBalances")


def test_a_form_is_decoded_and_a_double_name_refused() -> None:
    assert parse_form("a=1&b=x%20y&c=%5B%22A%22%5D&d=p+q&e=") == {
        "a": "1",
        "b": "x y",
        "c": '["A"]',
        "d": "p q",
        "e": "",
    }
    assert parse_form("") == {}
    with refused(-1101, "Duplicate values for parameter 'a'."):
        parse_form("a=1&a=2")


@pytest.mark.parametrize(
    ("value", "text"), [("x", "x"), (1, "1"), (True, "true"), (False, "false"), (None, ""), (["A"], '["A"]')]
)
def test_json_values_read_like_text(value: object, text: str) -> None:
    assert json_text(value) == text
