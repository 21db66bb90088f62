"""docs/rules.md explains every rule that is cited, every rule there is cited by a test, and its links are in step."""

from typing import Final

import pytest
from tools.rules import cited, defined, duties, linked, prose

from tools import rules

UNCITED: Final = frozenset[str]()
"""Rules of what is being built, which no test cites yet. It only gets shorter."""

PAGE: Final = rules.PAGE.read_text(encoding="utf-8")


def test_every_rule_that_is_cited_is_on_the_page() -> None:
    known = set(defined(PAGE))
    assert len(known) > 80
    unknown = {
        f"{path.relative_to(rules.ROOT)} cites rule {number}"
        for found in (rules.citations(rules.SOURCES), rules.citations(rules.TESTS))
        for number, paths in found.items()
        if number not in known
        for path in paths
    }
    assert unknown == set()


def test_every_rule_on_the_page_is_cited_by_a_test() -> None:
    found = rules.citations(rules.TESTS)
    missing = {number for number in duties(PAGE) if number not in found}
    assert missing - UNCITED == set(), "a rule without a test: name it in the docstring of the test that holds it"
    assert UNCITED - missing == set(), "a test cites these now: take them out of UNCITED"


def test_the_links_of_the_page_are_in_step() -> None:
    assert linked(PAGE) == PAGE, "run: make docs"


def test_each_number_is_explained_once_and_in_order() -> None:
    numbers = defined(PAGE)
    assert len(set(numbers)) == len(numbers)
    sections = [int(number.partition(".")[0]) for number in numbers]
    assert sections == sorted(sections)
    assert set(sections) == set(range(1, 15))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Rule 8.3: looked up.", {"8.3"}),
        ("as rules 8.1, 9.1 and 10 say", {"8.1", "9.1", "10"}),
        ("(rule 6.4b) and\n    rule 3.3b", {"6.4b", "3.3b"}),
        ("rules 7.1-7.3", {"7.1", "7.2", "7.3"}),
        ("rules 7.1 to 7.3", {"7.1", "7.2", "7.3"}),
        ("rules 9.2 to the letter", {"9.2"}),
        ("rules 4-6", {"4", "6"}),
        ("nothing else (6.2, 8.3) does", {"6.2", "8.3"}),
        ("3.5: covered at once", {"3.5"}),
        ("rule 11.12", {"11.12"}),
        ("two of the rules, 5 of them", set()),
        ("takes (0.5, 1.5) as it is, 2.5 s later; python 3.11", set()),
    ],
)
def test_what_counts_as_a_citation(text: str, numbers: set[str]) -> None:
    assert cited(text) == numbers


def test_only_comments_and_docstrings_cite() -> None:
    source = '"""Rule 1."""\nx = "rule 2.1"\n# rules 3.1,\n# 3.2\ndef f():\n    """Rule 4.1."""\n'
    assert {number for text in prose(source) for number in cited(text)} == {"1", "3.1", "3.2", "4.1"}


def test_links_are_made_anew_and_only_below_rules() -> None:
    page = "# The rules\n\n## 1 Words\n\n- a word\n\n## 8 Doubt\n\n**8.1** Text.\n\n↳ code: stale\n\n**8.3** More.\n"
    made = linked(page)
    assert "stale" not in made
    assert made.count(rules.LINK) == 2
    assert "[core/transition](../src/executor/core/transition.py)" in made or "[service/]" in made
    assert linked(made) == made
    assert defined(page) == ["1", "8", "8.1", "8.3"]
    assert duties(page) == ["8.1", "8.3"]
