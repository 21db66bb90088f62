"""The systemd units: sound, hardened, patient, and one text but for the instance's name."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from executor.cli import exits

CONFIG = Path(__file__).parents[2] / "config"
UNITS = {"executor.service": "executor.service", "executor@.service": "executor@btcusdt.service"}
ANALYZE = shutil.which("systemd-analyze")


def settings(name: str) -> list[tuple[str, str]]:
    lines = (CONFIG / name).read_text("utf-8").splitlines()
    return [
        (key, value) for key, sign, value in (line.partition("=") for line in lines if line[:1] not in "#[") if sign
    ]


def value(name: str, key: str) -> str:
    (found,) = [value for other, value in settings(name) if other == key]
    return found


@pytest.fixture(params=sorted(UNITS))
def unit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def installed(unit: str, folder: Path) -> Path:
    """The unit as it would be installed, with a program that is there."""
    program = folder / "executor"
    program.write_text(f"#!{sys.executable}\n", "utf-8")
    program.chmod(0o755)
    text = (CONFIG / unit).read_text("utf-8").replace("/opt/executor/bin/executor", str(program))
    path = folder / UNITS[unit]
    path.write_text(text, "utf-8")
    return path


def test_the_supervisor_is_told_and_believes_the_main_process_alone(unit: str) -> None:
    assert value(unit, "Type") == "notify"
    assert value(unit, "NotifyAccess") == "main"
    assert 10 <= int(value(unit, "WatchdogSec")) <= 60


def test_it_comes_back_unless_that_is_of_no_use(unit: str) -> None:
    assert value(unit, "Restart") == "on-failure"
    assert 2 <= int(value(unit, "RestartSec")) <= 10
    # systemd counts restarts over the unit's whole life: steps that grow with that count never shrink again.
    assert not {key for key, _ in settings(unit)} & {"RestartSteps", "RestartMaxDelaySec"}
    assert set(value(unit, "RestartPreventExitStatus").split()) == {str(exits.USAGE), str(exits.BAD_SETTINGS)}


def test_the_template_is_the_unit_with_a_name_in_it() -> None:
    def nameless(name: str) -> list[tuple[str, str]]:
        strip = re.compile(r"/executor\.env|/%i\.env|/%i| %i")
        return [(key, strip.sub("", text)) for key, text in settings(name)]

    assert nameless("executor.service") == nameless("executor@.service")
    own = {key for key, text in settings("executor@.service") if "%i" in text}
    assert own == {"Description", "EnvironmentFile", "Environment", "WorkingDirectory", "StateDirectory"}


def test_systemd_finds_nothing_wrong(unit: str, tmp_path: Path) -> None:
    path = installed(unit, tmp_path)
    assert re.fullmatch(r"executor(@btcusdt)?\.service", path.name)
    if ANALYZE is None:  # not a machine with systemd; the other tests still read the unit
        return
    done = subprocess.run([ANALYZE, "verify", str(path)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if path.name in line]
    assert (done.returncode, said) == (0, [])


def test_systemd_rates_its_exposure_low(unit: str, tmp_path: Path) -> None:
    path = installed(unit, tmp_path)
    hardening = {"ProtectSystem": "strict", "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "UMask": "0077"}
    assert {key: value(unit, key) for key in hardening} == hardening
    if ANALYZE is None:
        return
    done = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--threshold=20", str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-400:]
