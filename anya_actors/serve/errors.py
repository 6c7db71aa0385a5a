"""The door's own refusals, and the HTTP status of every error of the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from anya_actors.domain.machine import AnyaError


class UnknownRouteError(AnyaError):
    """No route has this path."""

    code = "unknown-route"
    message = "there is nothing at this path"
    remedy = "GET /openapi.json lists every path."


class MethodNotAllowedError(AnyaError):
    """The path exists, with other methods."""

    code = "method-not-allowed"
    message = "this path does not take {}"
    remedy = "Use one of the methods that the Allow header names."

    def __init__(self, method: str) -> None:
        super().__init__(method)


class MalformedJsonError(AnyaError):
    """The body is not JSON (RFC 8259)."""

    code = "malformed-json"
    message = "the body is not JSON: {}"
    remedy = "Send one UTF-8 JSON document."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class InvalidFieldsError(AnyaError):
    """JSON whose fields are not those that the route takes."""

    code = "invalid-fields"
    message = "{} of the request cannot be accepted"
    remedy = "Correct the fields that `errors` names; GET /openapi.json describes them."

    def __init__(self, count: str, fields: Sequence[tuple[str, str]]) -> None:
        super().__init__(count, fields)
        self.fields = tuple(fields)

    @classmethod
    def of(cls, fields: Sequence[tuple[str, str]]) -> InvalidFieldsError:
        """From pairs of a field's path and what is wrong with it."""
        return cls("one field" if len(fields) == 1 else f"{len(fields)} fields", fields)


class UnsupportedMediaTypeError(AnyaError):
    """A body that does not say it is JSON."""

    code = "unsupported-media-type"
    message = "a body must have the content type application/json"
    remedy = "Send the header `Content-Type: application/json`."


class BodyTooLargeError(AnyaError):
    """A body over the limit; reading stopped there."""

    code = "body-too-large"
    message = "the body is longer than {} bytes"
    remedy = "Send less in one request, or raise max_body_bytes in anya.toml."

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(limit_bytes)


class SlowBodyError(AnyaError):
    """A body that did not arrive in its time."""

    code = "slow-body"
    message = "the body did not arrive within {} s"
    remedy = "Send the request again; nothing was done."

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)


class BusyDoorError(AnyaError):
    """This replica answers as many requests as it may."""

    code = "too-many-requests"
    message = "{} requests are being answered, the limit"
    remedy = "Send the request again after the time that Retry-After names."

    def __init__(self, in_flight: int, retry_after_s: int = 1) -> None:
        super().__init__(in_flight, retry_after_s)
        self.retry_after_s = retry_after_s


class RateLimitError(AnyaError):
    """One subject sent more than its share."""

    code = "rate-limited"
    message = "this token's subject sent more than {} requests a second"
    remedy = "Send the request again after the time that Retry-After names."

    def __init__(self, requests_per_s: float, retry_after_s: int) -> None:
        super().__init__(requests_per_s, retry_after_s)
        self.retry_after_s = retry_after_s


class TooManyListenersError(AnyaError):
    """Every place for a WebSocket or SSE listener is taken."""

    code = "too-many-listeners"
    message = "{} listeners are connected, the limit"
    remedy = "Close one, or connect after the time that Retry-After names."

    def __init__(self, limit: int, retry_after_s: int = 5) -> None:
        super().__init__(limit, retry_after_s)
        self.retry_after_s = retry_after_s


class MissingTokenError(AnyaError):
    """No access token came with the request."""

    code = "missing-token"
    message = "this path needs an access token"
    remedy = "Send `Authorization: Bearer TOKEN`; `anya token create --scopes ...` makes one."


class MissingScopeError(AnyaError):
    """A valid token that does not allow this."""

    code = "missing-scope"
    message = "the token lacks the scope {}"
    remedy = "Make a token with it: `anya token create --scopes ...`."

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
        self.scope = scope


class NotYoursError(AnyaError):
    """A session or key of another subject."""

    code = "not-yours"
    message = "{} belongs to another subject"
    remedy = "Use one of your own, or a token with the scope admin."

    def __init__(self, what: str) -> None:
        super().__init__(what)


class OutputNotFoundError(AnyaError):
    """An output that is spent, or was never there."""

    code = "output-not-found"
    message = "no unspent output {1} of transaction {0} is known"
    remedy = "Look at the transaction; the output may be spent already."

    def __init__(self, txid: str, index: int) -> None:
        super().__init__(txid, index)


class UnexpectedError(AnyaError):
    """A fault of ours; the log has the rest under its id."""

    code = "internal-error"
    message = "the platform failed at this request (error {})"
    remedy = "Look up the error id in the platform's log and report it."

    def __init__(self, error_id: str) -> None:
        super().__init__(error_id)


class BusyPortError(AnyaError):
    """The port is taken."""

    code = "busy-port"
    message = "port {1} of {0} is in use: {2}"
    remedy = "Stop what listens there (`ss -ltnp`), or choose another with --port; --port 0 takes a free one."

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(host, port, reason)


class DoorNotDeployedError(AnyaError):
    """Ray Serve could not bring the door's replicas up."""

    code = "door-not-deployed"
    message = "the HTTP door did not come up: {}"
    remedy = "Correct what it names and start again; Ray's log has the rest."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class DoorDownError(AnyaError):
    """The door's HTTP server ended, or no longer answers."""

    code = "door-down"
    message = "the HTTP server of this replica is down: {}"
    remedy = "It is restarted; see the platform's log for the cause."

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


# Every code of the platform that may reach a caller. A class whose code is not here has the
# status of its nearest ancestor that is; without one it is a fault of ours, and its text stays inside.
STATUS_OF_CODE: Final[Mapping[str, int]] = MappingProxyType(
    {
        "malformed-json": 400,
        "missing-token": 401,
        "invalid-token": 401,
        "expired-token": 401,
        "revoked-token": 401,
        "invalid-client": 401,
        "missing-scope": 403,
        "not-yours": 403,
        "operation-refused": 403,
        "approval-needed": 403,
        "invalid-scope": 403,
        "unknown-route": 404,
        "unknown-actor": 404,
        "unknown-key": 404,
        "unknown-client": 404,
        "unknown-wallet": 404,
        "unknown-payment": 404,
        "unknown-block": 404,
        "block-not-found": 404,
        "transaction-not-found": 404,
        "output-not-found": 404,
        "unknown-subscription": 404,
        "not-our-address": 404,
        "method-not-allowed": 405,
        "slow-body": 408,
        "illegal-transition": 409,
        "version-conflict": 409,
        "message-applied": 409,
        "key-exists": 409,
        "client-exists": 409,
        "wallet-exists": 409,
        "session-closed": 409,
        "key-exhausted": 409,
        "waiting-period": 409,
        "revocation-limit": 409,
        "musig2-nonce-used": 409,
        "musig2-nonce-lost": 409,
        "insufficient-funds": 409,
        "wallet-without-keys": 409,
        "wallet-locked": 409,
        "wrong-encryption-state": 409,
        "wrong-wallet-passphrase": 409,
        "hardened-range": 409,
        "unknown-input": 409,
        "not-replaceable": 409,
        "nothing-to-spend": 409,
        "addresses-end": 409,
        "replacement-fee-too-low": 409,
        "coin-not-spendable": 409,
        "generation-outcome-unknown": 409,
        "psbt-state": 409,
        "psbt-input": 422,
        "descriptor-derivation": 422,
        "not-satisfiable": 409,
        # Something is to be put right on the HSM's machine first; the platform itself is well.
        "passphrase-source": 409,
        "wrong-passphrase": 409,
        "body-too-large": 413,
        "unsupported-media-type": 415,
        "invalid-fields": 422,
        "invalid-input": 422,
        "invalid-message-id": 422,
        "invalid-signature": 422,
        "invalid-log-proof": 422,
        "invalid-ciphertext": 422,
        "invalid-musig2-contribution": 422,
        "idempotency-conflict": 422,
        "transaction-rejected": 422,
        "package-rejected": 422,
        "package-transaction-rejected": 422,
        "transaction-too-large": 422,
        "block-rejected": 422,
        "broadcast-rejected": 422,
        "absurd-fee": 422,
        "fee-too-high": 422,
        "fee-cap-missing": 422,
        "bad-wallet-backup": 422,
        "overloaded": 429,
        "too-many-requests": 429,
        "too-many-listeners": 429,
        "rate-limited": 429,
        "session-limit": 429,
        "key-rate": 429,
        "client-throttled": 429,
        "subscription-limit": 429,
        "internal-error": 500,
        "unknown-method": 500,
        "unreadable-record": 500,
        "damaged-log": 500,
        "damaged-wallet-keys": 500,
        "damaged-fee-estimates": 500,
        "stale-fee-estimates": 500,
        "altered-key": 500,
        "audit-broken": 500,
        "block-out-of-order": 500,
        "secret-copy": 500,
        "signature-mismatch": 500,
        "unopenable": 500,
        "not-supported": 501,
        "node-refused": 502,  # and what derives from it
        "wrong-chain": 502,
        "reorg-too-deep": 502,
        "unavailable": 503,
        "fenced": 503,
        "store-locked": 503,
        "door-down": 503,
        "door-not-deployed": 503,
        "busy-port": 503,
        "hsm-error-state": 503,
        "audit-unavailable": 503,
        "sealed": 503,
        "chain-index-damaged": 503,
        "consensus-engine-failed": 503,
        "consensus-engine-locked": 503,
        "feerate-unknown": 503,
        "call-timeout": 504,
        "store-full": 507,
    }
)

RETRYABLE: Final = frozenset({429, 503, 504, 507})
RETRY_AFTER_S: Final = 1


def status_of(error: type[AnyaError]) -> int | None:
    """The HTTP status of an error: of its code, or of the nearest ancestor that has one."""
    for class_ in error.__mro__:
        if class_ is AnyaError:
            break
        status = STATUS_OF_CODE.get(getattr(class_, "code", ""))
        if status is not None:
            return status
    return None


def retry_after_s(error: AnyaError, status: int) -> int | None:
    """Seconds for the Retry-After header, or None where trying again changes nothing."""
    own = getattr(error, "retry_after_s", None)
    if own is not None:
        return max(1, int(own))
    return RETRY_AFTER_S if status in RETRYABLE else None
