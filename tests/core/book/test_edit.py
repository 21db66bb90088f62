import pytest
from tests.core.build import protected

from executor.core.book import edit
from executor.core.model.ids import Role


def test_what_a_request_names_is_on_record() -> None:
    """Rule 8.1: anything else is a defect."""
    position = protected().position
    assert edit.the_order(position, position.orders[0].id) is position.orders[0]
    with pytest.raises(AssertionError, match="names EX_1_SL_1, which this trade never had"):
        edit.the_order(position, "EX_1_SL_1")
    assert edit.the_leg(position, 3).n == 3
    with pytest.raises(AssertionError, match="has no leg 7"):
        edit.the_leg(position, 7)


def test_an_order_takes_the_place_of_the_one_with_its_id_or_is_the_newest() -> None:
    script = protected()
    position, order = script.position, script.order(Role.SL)
    assert edit.with_order(position, order) is position
    fewer = type(position)(
        trade=position.trade,
        signal=position.signal,
        opened=position.opened,
        plan=position.plan,
        phase=position.phase,
    )
    assert edit.with_order(fewer, order).orders == (order,)
