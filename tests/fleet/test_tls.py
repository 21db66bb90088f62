"""The store over TLS, with the certificates that docs/fleet.md has people make, and both sides asked for theirs."""

import asyncio
import os
import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from tests.fleet.cluster import PROGRAM, needs_etcd
from tools.ports import free_port

from executor.service.store.etcd import Etcd, EtcdError, tls_of

ROOT = Path(__file__).parents[2]
pytestmark = [
    needs_etcd,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl: apt-get install openssl"),
]


def script() -> str:
    """The commands of the page."""
    page = (ROOT / "docs" / "fleet.md").read_text("utf-8")
    (found,) = re.findall(r"```sh\n(# certificates.*?)```", page, re.DOTALL)
    return str(found)


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    """The folder in which they were made."""
    text = script().replace("10.0.0.1", "127.0.0.1")
    done = subprocess.run(["/bin/sh", "-eu", "-c", text], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = {path.name for path in tmp_path.iterdir()}
    assert {"fleet-ca.pem", "e1.pem", "e1.key", "n1.pem", "n1.key"} <= made
    assert all(not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) for path in tmp_path.glob("*.key"))
    return tmp_path


async def test_certificates_as_documented_let_nodes_in_and_nobody_else(certificates: Path) -> None:
    port, peer = free_port(), free_port()
    url = f"https://127.0.0.1:{port}"
    words = {
        "name": "e1",
        "data-dir": str(certificates / "data"),
        "listen-client-urls": url,
        "advertise-client-urls": url,
        "listen-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-advertise-peer-urls": f"http://127.0.0.1:{peer}",
        "initial-cluster": f"e1=http://127.0.0.1:{peer}",
        "client-cert-auth": "true",
        "trusted-ca-file": str(certificates / "fleet-ca.pem"),
        "cert-file": str(certificates / "e1.pem"),
        "key-file": str(certificates / "e1.key"),
        "log-level": "error",
    }
    process = await asyncio.create_subprocess_exec(
        PROGRAM,
        *(f"--{name}={value}" for name, value in words.items()),
        env={"PATH": os.environ["PATH"], "ETCD_UNSUPPORTED_ARCH": "arm64"},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        mine = [str(certificates / name) for name in ("fleet-ca.pem", "n1.pem", "n1.key")]
        node = Etcd([url], tls_of(*mine))
        async with asyncio.timeout(30):
            while True:
                try:
                    await node.put("/a", b"1")
                    break
                except EtcdError:
                    await asyncio.sleep(0.1)
        found = await node.read("/a")
        assert found is not None
        assert found.value == b"1"
        assert (await node.look(url)).certificate_ends
        await node.close()
        stranger = Etcd([url], tls_of(mine[0], None, None))
        with pytest.raises(EtcdError):
            await stranger.put("/a", b"2")
        await stranger.close()
        plain = Etcd([url.replace("https", "http")])
        with pytest.raises(EtcdError):
            await plain.put("/a", b"2")
        await plain.close()
        distrustful = Etcd([url], tls_of(None, mine[1], mine[2]))
        with pytest.raises(EtcdError):
            await distrustful.put("/a", b"2")
        await distrustful.close()
    finally:
        process.kill()
        await process.wait()


def test_files_that_can_t_be_used_are_named(tmp_path: Path) -> None:
    with pytest.raises(EtcdError, match=r"FLEET_CA, FLEET_CERT or FLEET_KEY can't be used: .*"):
        tls_of(str(tmp_path / "nowhere.pem"), None, None)
    os.mkfifo(tmp_path / "pipe.pem")
    with pytest.raises(EtcdError, match=r"can't be used: .*not a regular file: .*pipe.pem"):
        tls_of(str(tmp_path / "pipe.pem"), None, None)
