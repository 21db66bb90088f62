"""config/fleet: compose file, drop-ins and env files name what is there, and are understood by what reads them."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from executor.config import load_settings
from executor.config.sources import KNOWN_NAMES

ROOT = Path(__file__).parents[2]
FLEET = ROOT / "config" / "fleet"
COMPOSE = FLEET / "compose.yaml"
ANALYZE = shutil.which("systemd-analyze")
TOOL = shutil.which("docker-compose")


def pairs(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z_]+)=(.*)$", path.read_text("utf-8"), re.MULTILINE))


def block(name: str) -> dict[str, str]:
    """The plain values below a key of the compose file."""
    text = COMPOSE.read_text("utf-8")
    (found,) = re.findall(rf"^{re.escape(name)}:.*\n((?:  .*\n)+)", text, re.MULTILINE)
    return {key: value.strip().strip('"') for key, value in re.findall(r"^  ([A-Z_]+): (.+)$", found, re.MULTILINE)}


def test_the_nodes_of_the_compose_file_have_settings_that_are_known_and_right() -> None:
    environ = block("x-node")
    assert set(environ) <= KNOWN_NAMES
    for number in (1, 2, 3):
        settings = load_settings({**environ, "FLEET_NODE": f"n{number}", "HTTP_PORT": f"808{number}"}, None)
        assert settings.fleet == ("etcd-1:2379", "etcd-2:2379", "etcd-3:2379")
        assert f"FLEET_NODE: n{number}\n" in COMPOSE.read_text("utf-8")


def test_each_etcd_of_the_compose_file_is_told_of_all_three() -> None:
    text = COMPOSE.read_text("utf-8")
    cluster = "etcd-1=http://etcd-1:2380,etcd-2=http://etcd-2:2380,etcd-3=http://etcd-3:2380"
    assert text.count(f"--initial-cluster={cluster}") == 3
    for name in ("etcd-1", "etcd-2", "etcd-3"):
        for word in (
            "name=NAME",
            "advertise-client-urls=http://NAME:2379",
            "initial-advertise-peer-urls=http://NAME:2380",
        ):
            assert text.count(f"--{word.replace('NAME', name)}\n") == 1


def test_compose_reads_the_file(tmp_path: Path) -> None:
    if TOOL is None:  # not a machine with it; the other tests still read the file
        return
    done = subprocess.run(
        [TOOL, "-f", str(COMPOSE), "config"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    services = re.findall(r"^  (\S+):$", done.stdout.partition("services:\n")[2].partition("\nv")[0], re.MULTILINE)
    assert sorted(services) == sorted(
        [*(f"etcd-{n}" for n in (1, 2, 3)), *(f"executor-{n}" for n in (1, 2, 3)), "paper"]
    )


def test_the_env_file_of_a_node_has_settings_that_are_known_and_right(tmp_path: Path) -> None:
    """As it is put together: commands read the very file that the unit does."""
    page = (ROOT / "docs" / "install.md").read_text("utf-8")
    (begun,) = re.findall(r"/etc/executor/executor.env <<'END'\n(.*?)END", page, re.DOTALL)
    file = tmp_path / "executor.env"
    file.write_text(begun + (FLEET / "fleet.env").read_text("utf-8"), "utf-8")
    found = {**pairs(file), "SECRETS_DIR": str(tmp_path)}
    assert set(found) <= KNOWN_NAMES
    folder = tmp_path / "accounts"
    folder.mkdir()
    files = {name: str(tmp_path / name) for name in ("FLEET_CA", "FLEET_CERT", "FLEET_KEY")}
    for path in files.values():
        Path(path).touch(0o600)
    assert set(files) <= set(found)
    settings = load_settings({**found, **files, "ACCOUNTS": str(folder)}, None)
    assert str(settings.state_fn) == "/var/lib/executor/{account}/{symbol}.json"
    assert (settings.fleet_node, settings.fleet_ttl_sec, settings.recv_window) == ("n1", 5, 2500)


def test_etcd_s_file_asks_both_sides_for_certificates_and_keeps_its_history_small() -> None:
    found = pairs(FLEET / "etcd.env")
    assert all(name.startswith("ETCD_") for name in found)
    assert (found["ETCD_CLIENT_CERT_AUTH"], found["ETCD_PEER_CLIENT_CERT_AUTH"]) == ("true", "true")
    assert all(url.startswith("https://") for name, url in found.items() if name.endswith("_URLS"))
    assert (found["ETCD_AUTO_COMPACTION_MODE"], found["ETCD_AUTO_COMPACTION_RETENTION"]) == ("periodic", "1h")


def test_systemd_finds_nothing_wrong_with_the_drop_in(tmp_path: Path) -> None:
    program = tmp_path / "executor"
    program.write_text(f"#!{sys.executable}\n", "utf-8")
    program.chmod(0o755)
    unit = (ROOT / "config" / "executor.service").read_text("utf-8").replace("/opt/executor/bin/executor", str(program))
    path = tmp_path / "executor.service"
    path.write_text(unit, "utf-8")
    (tmp_path / "executor.service.d").mkdir()
    shutil.copy(FLEET / "executor.conf", tmp_path / "executor.service.d" / "fleet.conf")
    drop_in = (FLEET / "executor.conf").read_text("utf-8")
    assert "EnvironmentFile" not in drop_in  # commands read one file, and it is the unit's
    stop = int(re.findall(r"^TimeoutStopSec=(\d+)$", drop_in, re.MULTILINE)[0])
    assert stop > 20  # the node's own patience for giving its accounts away
    if ANALYZE is None:  # not a machine with systemd
        return
    done = subprocess.run([ANALYZE, "verify", str(path)], capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.splitlines() if "fleet.conf" in line or path.name in line]
    assert (done.returncode, said) == (0, [])
