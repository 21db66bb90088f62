"""An etcd cluster on loopback: Debian's `etcd-server`, or the program that ETCD names.

Where there is none, `needs_etcd` skips and says how to get it.
"""

from typing import Final

import pytest

from tools import etcd, etcd_cluster

Cluster = etcd_cluster.Cluster
Node = etcd_cluster.Node
running = etcd_cluster.running
PROGRAM: Final = etcd.program()
needs_etcd = pytest.mark.skipif(not PROGRAM, reason=f"no etcd: {etcd.ADVICE}")
