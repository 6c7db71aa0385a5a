"""Pay somebody exactly once, whatever happens on the way. Regtest: the coins are worth nothing.

export API=http://127.0.0.1:8000
export TOKEN=$(.venv/bin/anya token create --scopes "bitcoin:read bitcoin:write")
.venv/bin/python examples/pay_once.py order-17
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import httpx

AMOUNT_SAT = 25_000


def post(api: httpx.Client, path: str, body: dict[str, Any], key: str) -> Any:
    """Send until there is an answer. The key makes repeating harmless: it is applied once."""
    while True:
        try:
            answer = api.post(path, json=body, headers={"Idempotency-Key": key})
            if answer.status_code not in (429, 503):
                return answer.raise_for_status().json()
        except httpx.TransportError as error:
            print(f"no answer ({type(error).__name__}); sending the same again")
        time.sleep(0.5)


def main(order: str) -> None:
    """``order`` is what the payment is for; its key is derived from it, never drawn anew."""
    headers = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
    with httpx.Client(base_url=os.environ["API"] + "/api/v1/bitcoin", headers=headers, timeout=60) as api:
        shop = post(api, "/wallets", {"name": "shop"}, "example-wallet-shop")
        guest = post(api, "/wallets", {"name": "guest"}, "example-wallet-guest")
        # A block's reward may be spent once 100 blocks are on top of it.
        post(api, "/blocks", {"address": guest["address"], "blocks": 101}, "example-money")
        while balance(api, "guest")["spendable_sat"] <= AMOUNT_SAT:
            time.sleep(0.2)

        order_key = f"pay-{order}"
        request = {"address": shop["address"], "amount_sat": AMOUNT_SAT, "feerate_sat_per_vb": 2}
        payment = post(api, "/wallets/guest/payments", request, order_key)
        print(f"promised: payment {payment['payment_id']}, transaction {payment['txid']}")

        # As after a lost answer: the same key again is the same payment.
        again = post(api, "/wallets/guest/payments", request, order_key)
        assert again["payment_id"] == payment["payment_id"]

        while payment["phase"] in ("requested", "signed"):
            time.sleep(0.2)
            payment = api.get(f"/payments/{payment['payment_id']}").raise_for_status().json()
        post(api, "/blocks", {"address": guest["address"], "blocks": 1}, f"confirm-{order}")
        while payment["phase"] == "broadcast":
            time.sleep(0.2)
            payment = api.get(f"/payments/{payment['payment_id']}").raise_for_status().json()
        print(f"{payment['phase']} in block {payment['height']}; fee {payment['fee_sat']} sat")
        print(f"the shop has {balance(api, 'shop')['confirmed_sat']} sat")


def balance(api: httpx.Client, wallet: str) -> Any:
    """What the wallet has."""
    return api.get(f"/wallets/{wallet}/balance").raise_for_status().json()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "order-1")
