"""What a fleet needs, looked at beforehand: etcd's members, their disks and clocks, TLS, the other nodes."""

import asyncio
import os
import re
import ssl
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from itertools import pairwise
from time import monotonic
from typing import Final

from executor.config import Settings
from executor.ops.doctor import OTHERS, Finding, fail, ok, warn
from executor.ops.fleet import MemberRow, cluster_members
from executor.service.fleet.digest import digest_of
from executor.service.fleet.membership import read_view
from executor.service.fleet.view import View
from executor.service.store.etcd import Etcd, EtcdError, Look
from executor.service.store.fleet_keys import Keys

FSYNC_P99_MS: Final = 10
"""etcd's own advice: with a slower disk its leader is changed for nothing, and each write waits for it."""
WRITE_WARN_MS: Final = 25
WRITE_TRIES: Final = 10
CLOCK_S: Final = 1.5
"""Beyond what whole seconds (HTTP tells no others) and the time for the answer leave open."""
SIZE_WARN: Final = 1_500_000_000
"""Bytes; etcd takes no write beyond its quota, which is 2 GB where nobody says otherwise."""
CERTIFICATE_DAYS: Final = 21
MEMBERS: Final = 3
DAY_S: Final = 86_400
_BUCKET: Final = re.compile(r'^etcd_disk_wal_fsync_duration_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


async def on_the_fleet(
    settings: Settings, etcd: Etcd, accounts: Mapping[str, Settings], *, this_node: str, this_host: str
) -> list[Finding]:
    """`accounts`: those that this machine has keys of."""
    keys = Keys(settings.fleet_name)
    findings = list(_tls(settings))
    try:
        members = await cluster_members(etcd)
    except EtcdError as error:
        advice = "start etcd, check FLEET and the network; FLEET_CA, FLEET_CERT, FLEET_KEY where it speaks TLS"
        return [*findings, fail("etcd", str(error), advice)]
    findings += _members(members)
    elsewhere = set(etcd.endpoints).difference(*(each.url.split(", ") for each in members))
    findings += [each for url in sorted(elsewhere) if (each := await _address(etcd, url)) is not None]
    looks = await asyncio.gather(*(_look(etcd, each) for each in members))
    for member, seen in zip(members, looks, strict=True):
        if isinstance(seen, Look):
            findings += [_fsync(member, seen), clock(member, seen), *_certificate(member, seen)]
    try:
        findings += [await _write(etcd, keys, this_node), *(_alarm(each) for each in await etcd.alarms())]
        findings += _nodes(await read_view(etcd, keys), accounts, this_node, this_host)
    except EtcdError as error:
        findings.append(fail("etcd quorum", str(error), "start the members that are down: nothing is sent meanwhile"))
    return findings


async def _address(etcd: Etcd, url: str) -> Finding | None:
    """What is wrong with an address in FLEET that no member calls its own."""
    try:
        await etcd.status(url)
    except EtcdError as error:
        return fail(f"etcd at {url}", str(error), "mend FLEET: name the members of one etcd (`executor fleet members`)")
    return None


async def _look(etcd: Etcd, member: MemberRow) -> Look | EtcdError:
    try:
        return await etcd.look(member.url.split(", ")[0])
    except EtcdError as error:
        return error


# --- etcd -------------------------------------------------------------------------------------------------------------


def _members(members: Sequence[MemberRow]) -> Iterator[Finding]:
    voting = [each for each in members if not each.learner]
    for member in members:
        if member.fault:
            yield fail(f"etcd {member.member}", member.fault, "start it: with it away one more loss stops the fleet")
        elif member.size > SIZE_WARN:
            said = f"its database has {member.size // 1_000_000} MB"
            yield warn(f"etcd {member.member}", said, "set --auto-compaction-retention=1h, then `etcdctl defrag`")
    up = [each for each in voting if not each.fault]
    said = f"{len(voting)} members, {len(up)} answer, leader {_leader(members)}"
    if len(up) <= len(voting) // 2:
        yield fail("etcd members", said, "start those that are down: without a majority nothing is sent")
    elif len(voting) < MEMBERS:
        yield warn("etcd members", said, "three members survive the loss of one")
    else:
        yield ok("etcd members", said)
    versions = sorted({each.version for each in members if each.version})
    if len(versions) > 1:
        yield warn("etcd version", " and ".join(versions), "run the same version everywhere, once the roll-out is over")
    elif versions and versions[0].startswith("3.4."):
        yield ok(
            "etcd version", f"{versions[0]}; 3.4 gets no mending upstream any more, 3.5 is better where there is one"
        )
    elif versions:
        yield ok("etcd version", versions[0])


def _leader(members: Sequence[MemberRow]) -> str:
    return next((each.member for each in members if each.leader), "nobody")


def _fsync(member: MemberRow, seen: Look) -> Finding:
    name = f"etcd {member.member} disk"
    p99 = fsync_p99(seen.metrics)
    if p99 is None:
        return ok(name, "has synced nothing yet")
    said = f"99 of 100 syncs take up to {p99 * 1000:.0f} ms"
    if p99 * 1000 > FSYNC_P99_MS:
        return warn(name, said, f"give its data a disk of its own, below {FSYNC_P99_MS} ms: every order waits for it")
    return ok(name, said)


def fsync_p99(metrics: str) -> float | None:
    """Seconds within which 99 of 100 syncs of the write-ahead log were over, by etcd's own histogram."""
    buckets = [(float(bound), float(count)) for bound, count in _BUCKET.findall(metrics)]
    total = buckets[-1][1] if buckets else 0.0
    if not total:
        return None
    if buckets[0][1] >= 0.99 * total:
        return buckets[0][0]
    return next((upper for (_, _), (upper, count) in pairwise(buckets) if count >= 0.99 * total), None)


def clock(member: MemberRow, seen: Look) -> Finding:
    name = f"etcd {member.member} clock"
    try:
        told = parsedate_to_datetime(seen.date).timestamp()
    except ValueError:
        return ok(name, "does not tell its time")
    # It was told at some moment between the question and the answer, and may be any moment of its second.
    least, most = told - seen.answered, told + 1 - seen.asked
    ahead = max(least, 0.0) + min(most, 0.0)
    if abs(ahead) > CLOCK_S:
        return warn(name, f"{ahead:+.0f} s from this machine's", "have both follow a time server (chrony, timesyncd)")
    return ok(name, "as this machine's, to the second")


def _certificate(member: MemberRow, seen: Look) -> Iterator[Finding]:
    if not seen.certificate_ends:
        return
    days = (ssl.cert_time_to_seconds(seen.certificate_ends) - time.time()) / DAY_S
    said = f"its certificate holds until {seen.certificate_ends}"
    if days < CERTIFICATE_DAYS:
        yield warn(f"etcd {member.member} TLS", said, "renew it: without it no node reaches the store")
    else:
        yield ok(f"etcd {member.member} TLS", said)


def _tls(settings: Settings) -> Iterator[Finding]:
    away = [node for node in settings.fleet if not node.startswith(("127.", "localhost", "[::1]"))]
    if settings.fleet_ca is None and away:
        advice = "set FLEET_CA, FLEET_CERT and FLEET_KEY: whoever reaches etcd can move your accounts (docs/fleet.md)"
        yield warn("etcd TLS", "etcd is spoken to in the clear, and asks nobody who they are", advice)
    elif settings.fleet_ca is not None and settings.fleet_cert is None:
        yield warn("etcd TLS", "no client certificate", "set FLEET_CERT and FLEET_KEY, and --client-cert-auth at etcd")
    elif settings.fleet_ca is not None:
        yield ok("etcd TLS", "on, with a client certificate")
    key = settings.fleet_key
    if key is not None and key.exists() and key.stat().st_mode & OTHERS:
        yield fail("etcd key", f"{key} can be read by other users", f"chmod 600 {key}")


def _alarm(alarm: str) -> Finding:
    if alarm == "NOSPACE":
        advice = "compact and defragment, raise --quota-backend-bytes, then `etcdctl alarm disarm`"
        return fail("etcd alarm", "NOSPACE: no write is taken", advice)
    return fail("etcd alarm", alarm, "see etcd's log, and its manual on alarms")


async def _write(etcd: Etcd, keys: Keys, node: str) -> Finding:
    """Whether this node may write, and how long it takes: each order waits for such a write (rule 8.1)."""
    key = f"{keys.root}doctor/{node}-{os.getpid()}"
    took = []
    for _ in range(WRITE_TRIES):
        began = monotonic()
        await etcd.put(key, b"x" * 4096)
        took.append((monotonic() - began) * 1000)
    await etcd.delete(key)
    said = f"this node may write; a state takes {statistics.median(took):.1f} ms, at most {max(took):.0f}"
    if statistics.median(took) > WRITE_WARN_MS:
        return warn("etcd write", said, "keep etcd near, on fast disks: every order waits for this")
    return ok("etcd write", said)


# --- the nodes --------------------------------------------------------------------------------------------------------


def _nodes(view: View, accounts: Mapping[str, Settings], this_node: str, this_host: str) -> Iterator[Finding]:
    others = [info for name, info in sorted(view.nodes.items()) if name != this_node]
    mine = view.nodes.get(this_node)
    if mine is not None and mine.host != this_host:
        said = f"{this_node} lives on {mine.host} already"
        yield fail("fleet node", said, "give each machine a FLEET_NODE of its own")
    if this_node in view.drained:
        yield warn(
            "fleet node", f"{this_node} is drained: it claims nothing", f"executor fleet drain {this_node} --undo"
        )
    if others:
        yield ok("fleet nodes", f"{', '.join(each.node for each in others)} live beside {this_node}")
    else:
        yield warn("fleet nodes", f"no other than {this_node}", "start a second node: nobody would take over")
    versions = sorted({info.version for info in view.nodes.values()})
    if len(versions) > 1:
        yield warn("fleet versions", " and ".join(versions), "bring all nodes to one version (docs/fleet.md, roll-out)")
    for account, settings in sorted(accounts.items()):
        differing = [
            each.node for each in others if each.digests.get(account, digest_of(settings)) != digest_of(settings)
        ]
        if differing:
            said = f"other settings here than on {', '.join(differing)}"
            yield warn(f"{account} settings", said, "make the account's files the same on all machines")
        elif account not in view.owners and view.nodes:
            yield warn(f"{account} owner", "nobody owns it", "see `executor fleet status` and the nodes' logs")
