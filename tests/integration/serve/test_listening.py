"""A replica's server: its port, its limits on the wire, TLS, health and drain."""

from __future__ import annotations

import asyncio
import datetime
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from anya_actors.serve.errors import BusyPortError, DoorDownError
from anya_actors.serve.port import join_port, reserve_port
from anya_actors.serve.server import DoorServer
from anya_actors.serve.settings import Listen, TlsFiles

SYSTEM = "/api/v1/system"
TIP = "/api/v1/bitcoin/tip"


def test_a_port_is_reserved_for_one_platform() -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        assert reserved.port > 0
        with pytest.raises(BusyPortError, match=f"port {reserved.port} of 127.0.0.1 is in use") as refused:
            reserve_port("127.0.0.1", reserved.port)
        assert "--port" in str(refused.value)
    reserve_port("127.0.0.1", reserved.port).close()


def test_a_port_where_somebody_listens_is_busy_even_if_it_could_be_shared() -> None:
    with join_port("127.0.0.1", 0) as other:
        other.listen()
        with pytest.raises(BusyPortError):
            reserve_port("127.0.0.1", other.getsockname()[1])


def test_replicas_join_a_reserved_port() -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        first, second = (join_port("127.0.0.1", reserved.port) for _ in range(2))
        first.close()
        second.close()


async def test_a_port_can_be_reserved_again_right_after_its_door_closed(open_door: Any) -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        door = open_door(Listen("127.0.0.1", reserved.port, drain_s=1))
        async with door.client("system:read") as client:
            assert (await client.get(SYSTEM)).status_code == 200
            # The door ends the connection first, which leaves it in TIME_WAIT.
            await door.server.drain()
    reserve_port("127.0.0.1", reserved.port).close()


async def test_two_replicas_share_a_port_and_one_goes_without_harm(open_door: Any) -> None:
    with reserve_port("127.0.0.1", 0) as reserved:
        listen = Listen("127.0.0.1", reserved.port, drain_s=1)
        leaving, staying = open_door(listen), open_door(listen)
        for _ in range(20):
            async with httpx.AsyncClient(timeout=60.0) as client:
                answer = await client.get(f"http://127.0.0.1:{reserved.port}/healthz")
                assert answer.status_code == 200
        await leaving.server.drain()
        for _ in range(20):
            async with staying.client("system:read") as client:
                assert (await client.get(SYSTEM)).status_code == 200


async def test_a_body_that_never_comes_is_given_up(open_door: Any) -> None:
    door = open_door(body_timeout_s=0.05)
    reader, writer = await asyncio.open_connection(door.host, door.port)
    writer.write(b"POST /api/v1/bitcoin/wallets HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
    answer = await asyncio.wait_for(reader.read(), 60)
    assert answer.startswith(b"HTTP/1.1 408 ")
    writer.close()


async def test_a_request_in_flight_is_answered_before_the_door_closes(open_door: Any) -> None:
    door = open_door()
    async with door.client("bitcoin:read") as client:
        asking = asyncio.ensure_future(client.get(TIP))
        await door.there(door.bitcoin.entered.wait())
        draining = asyncio.ensure_future(door.server.drain())

        async def release() -> None:
            door.bitcoin.gate.set()

        await door.there(release())
        assert (await asking).status_code == 200
        await draining
        with pytest.raises(httpx.TransportError):
            await client.get(TIP)


async def test_a_replica_is_healthy_while_it_listens(open_door: Any) -> None:
    door = open_door()
    await door.server.check_health()
    await door.server.drain()
    await door.server.drain()
    with pytest.raises(DoorDownError):
        await door.server.check_health()


async def test_a_replica_whose_loop_stands_still_is_unhealthy(
    open_door: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    monkeypatch.setattr("anya_actors.serve.server.PING_TIMEOUT_S", 0.05)
    door, release = open_door(), threading.Event()
    door.server._loop.call_soon_threadsafe(release.wait)
    with pytest.raises(DoorDownError, match="did not turn"):
        await door.server.check_health()
    release.set()


def test_an_application_that_cannot_be_built_is_reported() -> None:
    def build() -> Any:
        raise ValueError("no such thing")

    with pytest.raises(DoorDownError, match="no such thing"):
        DoorServer(build, Listen("127.0.0.1", 0)).start()


async def test_the_door_tells_nobody_what_it_is_made_of(open_door: Any) -> None:
    door = open_door()
    async with door.client("system:read") as client:
        assert "server" not in (await client.get(SYSTEM)).headers


@pytest.fixture
def certificate(tmp_path: Path) -> TlsFiles:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(tmp_path / "door.crt", tmp_path / "door.key")
    files.certificate.write_bytes(made.public_bytes(Encoding.PEM))
    files.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


async def test_tls_is_1_3_or_nothing(open_door: Any, certificate: TlsFiles) -> None:
    door = open_door(Listen("127.0.0.1", 0, tls=certificate, drain_s=1))
    context = ssl.create_default_context(cafile=str(certificate.certificate))
    async with httpx.AsyncClient(verify=context, headers=door.bearer("system:read"), timeout=60.0) as client:
        assert (await client.get(f"https://localhost:{door.port}{SYSTEM}")).status_code == 200
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    async with httpx.AsyncClient(verify=context, timeout=60.0) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get(f"https://localhost:{door.port}/healthz")
