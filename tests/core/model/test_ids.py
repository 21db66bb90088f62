import pytest

from executor.core.model.ids import MAX_LENGTH, ClientId, Role, client_id, is_ours, list_of, parse


def test_an_id_says_whose_order_it_is_and_what_for() -> None:
    text = client_id("1700000000000", Role.TP1, 3)
    assert text == "EX_1700000000000_TP1_3"
    assert parse(text) == ClientId("1700000000000", Role.TP1, 3)
    assert str(parse(text)) == text


def test_the_longest_id_fits_the_exchange() -> None:
    longest = [client_id("9" * 16, role, 99_999_999) for role in Role]
    assert max(map(len, longest)) <= MAX_LENGTH
    assert all(str(parse(text)) == text for text in longest), "three years of a trail that moves each second"


@pytest.mark.parametrize("text", ["", "web_123", "EX_", "EX_1_NOPE_1", "EX_1_TP1_", "EX_x_TP1_1", "EX_1_TP1_1 "])
def test_what_is_not_an_id_of_ours_is_not_read_as_one(text: str) -> None:
    assert parse(text) is None


def test_our_name_space_is_wider_than_what_can_be_read() -> None:
    assert is_ours("EX_1_NOPE_1")
    assert not is_ours("web_1")


def test_a_list_has_the_id_given_out_just_before_its_sides() -> None:
    assert list_of(ClientId("5", Role.TP1, 8)) == "EX_5_OCO1_7"
    assert list_of(ClientId("5", Role.SL1, 9)) == "EX_5_OCO1_7"
    assert list_of(ClientId("5", Role.TP2, 11)) == "EX_5_OCO2_10"
    assert list_of(ClientId("5", Role.SL2, 12)) == "EX_5_OCO2_10"
