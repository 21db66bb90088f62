"""Generated documents and `executor config` say what the source says."""

import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from dotenv import dotenv_values
from tools.documents import MAP, between, documents
from typer.testing import CliRunner

from executor.cli.app import COMMANDS, app, load_command
from executor.config import load_settings, rendering
from executor.config.sources import FIELDS, SECRETS
from tools import rules

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Commands run in an empty folder, wide enough that help is not wrapped."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def test_what_is_made_from_the_source_is_in_step() -> None:
    """The rules' links and the pictures of the rooms apart: `tests/test_rules.py`, `tests/tools/test_imports.py`."""
    made = [(path, text) for path, text in documents() if path not in (rules.PAGE, MAP)]
    behind = [path.name for path, text in made if path.read_text(encoding="utf-8") != text]
    assert behind == [], "run: make docs"


def test_a_document_without_its_markers_is_noticed() -> None:
    with pytest.raises(ValueError, match="no markers for settings"):
        between("<!-- settings:begin (made by: make docs) -->\n", "settings", rendering.markdown_first)


def test_the_readme_names_a_dozen_settings_that_are_there() -> None:
    assert len(rendering.FIRST) == 12
    assert rendering.markdown_first().count("\n| `") == 12


def test_env_example_as_it_is_changes_nothing_and_uncommented_neither(tmp_path: Path) -> None:
    assert dotenv_values(stream=StringIO(rendering.env_example())) == {}
    lines = rendering.env_example().splitlines()
    uncommented = "\n".join(line[1:] for line in lines if line.startswith("#") and line[1:2].isupper())
    (tmp_path / ".env").write_text(uncommented, encoding="utf-8")
    assert load_settings({}, tmp_path / ".env").model_dump() == load_settings({}, None).model_dump()
    assert list(dotenv_values(stream=StringIO(uncommented))) == list(FIELDS)


def test_every_setting_is_in_every_document() -> None:
    settings = load_settings({}, None)
    rows = json.loads(rendering.as_json(settings))
    assert [row["name"] for row in rows] == list(FIELDS)
    assert [line.split()[0] for line in rendering.table(settings).splitlines() if "default" in line] == list(FIELDS)
    assert all(f"| `{name}`" in rendering.markdown() for name in FIELDS)


class TestConfigCommand:
    def test_the_table(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["config"], env={"POLL_SEC": "2", "PAPER_API_SECRET": "hush"})
        assert result.exit_code == 0
        lines = {line.split()[0]: line.split() for line in result.stdout.splitlines() if line}
        assert lines["POLL_SEC"] == ["POLL_SEC", "2", "1.0", "environment"]
        assert lines["PAPER_API_SECRET"] == ["PAPER_API_SECRET", "***", "paper", "environment"]
        assert lines["SL_PCT"] == ["SL_PCT", "0.002", "0.002", "default"]

    def test_json(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["config", "--format", "json"], env={"SYMBOL": "BTCUSDT"})
        rows = {row["name"]: row for row in json.loads(result.stdout)}
        assert rows["SYMBOL"] == {
            "group": "Exchange",
            "name": "SYMBOL",
            "value": "BTCUSDT",
            "default": "paper: the recording's; else required",
            "origin": "environment",
            "meaning": "The symbol that is traded.",
        }

    def test_an_env_file_by_name(self, runner: CliRunner, tmp_path: Path) -> None:
        (tmp_path / "other.env").write_text("POLL_SEC=3\nPOLL_SECS=4\n", encoding="utf-8")
        result = runner.invoke(app, ["--env-file", "other.env", "config"])
        assert result.exit_code == 0
        assert ["POLL_SEC", "3", "1.0", "env", "file"] in [line.split() for line in result.stdout.splitlines()]
        assert "warning: POLL_SECS in other.env is not a setting; did you mean POLL_SEC?" in result.stderr

    def test_a_named_env_file_must_be_there(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["--env-file", "gone.env", "config"])
        assert result.exit_code == 2
        assert "gone.env is not a file" in result.stderr

    def test_wrong_settings_are_all_told_and_end_with_78(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["config"], env={"POLL_SEC": "0", "TRADE_MODE": "futures", **_broken_secrets()})
        assert result.exit_code == 78
        assert result.stdout == ""
        assert "2 settings are wrong:" in result.stderr
        assert "POLL_SEC: was '0'" in result.stderr
        assert "TRADE_MODE: was 'futures'" in result.stderr
        assert "hush" not in result.stderr

    def test_the_documents(self, runner: CliRunner) -> None:
        wrong = {"POLL_SEC": "0"}  # what is written must not depend on the settings of the moment
        assert runner.invoke(app, ["config", "--env-example"], env=wrong).stdout == rendering.env_example()
        assert runner.invoke(app, ["config", "--markdown"], env=wrong).stdout == rendering.markdown()
        assert runner.invoke(app, ["config", "--markdown", "--env-example"]).exit_code == 2


def _broken_secrets() -> dict[str, str]:
    return {name: "hush" for name in SECRETS if name.startswith("PAPER_")}


def run_python(program: str) -> str:
    """What it prints, run without an error."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


class TestCommandLine:
    def test_help_lists_every_command_without_importing_one(self) -> None:
        program = (
            "import sys; from executor.cli.app import COMMANDS, app\n"
            "try: app(['--help'])\n"
            "except SystemExit as end: assert not end.code\n"
            "targets = {command.target.partition(':')[0] for command in COMMANDS.values()}\n"
            "assert targets.isdisjoint(sys.modules), targets & set(sys.modules)\n"
        )
        said = run_python(program)
        assert all(name in said for name in COMMANDS)
        assert "78 wrong settings" in said

    def test_a_live_service_imports_no_paper_exchange_and_no_library_that_it_has_no_use_for(self) -> None:
        program = (
            "import sys; from executor.cli import run\n"
            "needless = {'cryptography', 'Crypto.Math', 'dateparser.date', 'executor.paper.engine.exchange'}\n"
            "found = needless & set(sys.modules)\n"
            "assert not found, found\n"
        )
        run_python(program)

    @pytest.mark.parametrize("name", sorted(COMMANDS))
    def test_a_command_says_in_its_own_help_what_the_list_says(self, runner: CliRunner, name: str) -> None:
        assert load_command(name).help.splitlines()[0] == COMMANDS[name].summary
        result = runner.invoke(app, [name, "--help"])
        assert result.exit_code == 0
        assert COMMANDS[name].summary in result.stdout
        assert "Exit codes" in result.stdout

    def test_an_unknown_command_is_a_usage_error_with_a_hint(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["confg"])
        assert result.exit_code == 2
        assert "config" in result.stderr

    def test_the_version(self, runner: CliRunner) -> None:
        result = runner.invoke(app, ["--version"])
        assert (result.exit_code, result.stdout) == (0, "executor 0.1.0\n")

    def test_the_module_is_the_program(self) -> None:
        done = subprocess.run([sys.executable, "-m", "executor", "--version"], capture_output=True, check=True)
        assert done.stdout.startswith(b"executor ")
