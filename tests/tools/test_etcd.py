"""etcd for the tests: found, unpacked from Debian's package, or said to be missing."""

from pathlib import Path

import pytest

from tools import etcd


def put(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which programs are looked for; there are none."""
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.delenv("ETCD", raising=False)
    monkeypatch.setattr(etcd, "UNPACKED", tmp_path / "debian")
    return programs


def test_one_that_is_named_or_installed_is_taken(
    machine: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(machine, "etcd", "")
    etcd.main()
    assert capsys.readouterr().out == f"etcd: {machine / 'etcd'}\n"
    monkeypatch.setenv("ETCD", "/opt/etcd")
    assert etcd.program() == "/opt/etcd"


def test_debian_s_package_is_unpacked_without_root(machine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(machine, "apt-get", ": > etcd-server_1_amd64.deb")
    put(machine, "dpkg", '/bin/mkdir -p "$3/usr/bin" && : > "$3/usr/bin/etcd"')
    etcd.main()
    assert capsys.readouterr().out == f"etcd: {etcd.UNPACKED / 'usr' / 'bin' / 'etcd'}\n"
    assert (etcd.UNPACKED / "usr" / "bin" / "etcd").is_file()


@pytest.mark.parametrize(
    ("programs", "why"),
    [
        ({}, "no apt-get and no dpkg here: not a Debian or Ubuntu"),
        ({"apt-get": "echo 'E: no network' >&2; exit 100", "dpkg": ""}, "apt-get: E: no network"),
        ({"apt-get": "", "dpkg": ""}, "apt-get downloaded 0 packages"),
        ({"apt-get": ": > etcd-server_1.deb", "dpkg": '/bin/mkdir "$3"'}, "etcd-server_1.deb holds no etcd"),
    ],
)
def test_where_it_can_t_be_had_that_is_said(
    machine: Path, capsys: pytest.CaptureFixture[str], programs: dict[str, str], why: str
) -> None:
    for name, text in programs.items():
        put(machine, name, text)
    etcd.main()
    said = capsys.readouterr().out
    assert said.startswith(f"etcd: not here ({why}); the tests of the fleet are skipped. To run them: apt-get install")
    assert not etcd.UNPACKED.exists()
