"""Sign, encrypt and authenticate by keys that never leave the platform's HSM.

    python examples/sign_in_session.py [DATA_DIR]

Run it where `anya up` runs. The session is a process of its own; it holds these keys alone and ends
with its block. Every line of it is in the audit log: `anya hsm audit list`.
"""

from __future__ import annotations

import asyncio
import sys

import anya_actors.platform
from anya_actors.domain.hsm.errors import KeyExistsError
from anya_actors.domain.keys.algorithms import InvalidSignatureError

KEYS = {"invoices": "ed25519", "archive": "aes256-gcm"}


async def main(data_dir: str | None) -> None:
    async with anya_actors.platform.connect(data_dir) as platform:
        for name, key_type in KEYS.items():
            try:
                await platform.hsm.create_key(name, key_type)
            except KeyExistsError:
                print(f"{name} is there already")

        async with platform.hsm.session(*KEYS) as s:
            signature = await s.sign("invoices", b"25000 sat", "ed25519")
            await s.verify("invoices", b"25000 sat", signature, "ed25519")
            try:
                await s.verify("invoices", b"99000 sat", signature, "ed25519")
            except InvalidSignatureError as refused:
                print(refused)

            messages = [f"invoice {number}".encode() for number in range(5000)]
            signatures = await s.sign_batch("invoices", messages, "ed25519")
            print(f"{len(signatures)} invoices signed")

            sealed = await s.encrypt_batch("archive", messages, "aes256-gcm")
            await platform.hsm.rotate_key("archive")  # what was encrypted before still opens
            assert await s.decrypt_batch("archive", sealed, "aes256-gcm") == messages
            print(f"{len(sealed)} invoices archived by version {sealed[0].version} of the key")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else None))
