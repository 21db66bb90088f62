"""docs/paper.md says what the program does."""

from pathlib import Path

from executor.paper.engine.choices import choices_table

PAGE = Path("docs/paper.md").read_text("utf-8")


def test_the_table_of_choices_is_the_programs_own() -> None:
    shown = PAGE.partition("<!-- choices:begin -->")[2].partition("<!-- choices:end -->")[0]
    assert shown.strip() == choices_table(), "docs/paper.md: put the right-hand side between the markers"
