"""Every refusal of the HSM."""

from __future__ import annotations

from anya_actors.domain.machine import AnyaError, UnavailableError


class WrongPassphraseError(AnyaError):
    """The passphrase does not open the sealed root."""

    code = "wrong-passphrase"
    message = "the HSM cannot be unsealed: the passphrase is not the one it was sealed with"
    remedy = "Put the right passphrase into the passphrase file, or restore the data directory it belongs to."


class SealedError(UnavailableError):
    """The HSM's keys are not in memory, by an operator's wish or for want of use."""

    code = "sealed"
    message = "the HSM is sealed: {}"
    remedy = "An admin unseals it: `anya hsm unseal`, POST /api/v1/security/unseal, or `anya up --unseal`."

    def __init__(self, reason: str) -> None:
        AnyaError.__init__(self, reason)


class AlteredKeyError(AnyaError):
    """A stored key does not open under its own name, version and policy: it was altered or swapped."""

    code = "altered-key"
    message = "key {} version {} was altered in the store"
    remedy = "Restore the HSM's store from a backup; treat the disk as touched by someone."

    def __init__(self, key: str, version: int) -> None:
        super().__init__(key, version)


class UnknownKeyError(AnyaError):
    """There is no such key, or the caller may not know of it: the answer is the same."""

    code = "unknown-key"
    message = "there is no key {} for this caller"
    remedy = "List the keys you own; names are case-sensitive."

    def __init__(self, key: str) -> None:
        super().__init__(key)


class KeyExistsError(AnyaError):
    """The name is taken."""

    code = "key-exists"
    message = "the key name {} is taken"
    remedy = "Choose another name, or repeat the first request with its own message id."

    def __init__(self, key: str) -> None:
        super().__init__(key)


class OperationRefusedError(AnyaError):
    """The key's policy does not allow this operation."""

    code = "operation-refused"
    message = "the policy of key {} does not allow to {}"
    remedy = "Use a key whose operations include it."

    def __init__(self, key: str, operation: str) -> None:
        super().__init__(key, operation)


class SessionClosedError(AnyaError):
    """The session is over, was never opened, or lost its process; it will not come back."""

    code = "session-closed"
    message = "HSM session {} is closed: {}"
    remedy = "Open a new session."

    def __init__(self, session_id: str, reason: str) -> None:
        super().__init__(session_id, reason)


class SessionLimitError(AnyaError):
    """As many sessions are open as the HSM allows; each one is a process."""

    code = "session-limit"
    message = "{} HSM sessions are open, the limit"
    remedy = "Close a session, or wait until an idle one times out."

    def __init__(self, limit: int) -> None:
        super().__init__(limit)


class SelfTestError(AnyaError):
    """A known-answer test or a pairwise check failed; the HSM serves nothing until restarted."""

    code = "hsm-error-state"
    message = "the HSM is in its error state: the self-test of {} failed"
    remedy = "Do not use this machine for keys: check its memory and the installed packages, then restart."

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithm)


class AuditBrokenError(AnyaError):
    """The audit log was altered. ``sequence`` is the first entry that does not hold."""

    code = "audit-broken"
    message = "the audit log does not hold at entry {}: {}"
    remedy = "Keep the file as evidence, find out who could write it, and restore it from a backup."

    def __init__(self, sequence: int, reason: str) -> None:
        super().__init__(sequence, reason)


class AuditUnavailableError(AnyaError):
    """The audit log takes no entry, so nothing is answered."""

    code = "audit-unavailable"
    message = "the audit entry could not be made durable within {} s"
    remedy = "Free disk space under the data directory; then send the call again with the same message id."

    def __init__(self, timeout_s: float) -> None:
        super().__init__(timeout_s)


class NonceLostError(AnyaError):
    """The secret half of a MuSig2 nonce is not here: its process ended, or it made room for others."""

    code = "musig2-nonce-lost"
    message = "the MuSig2 nonce {} of key {} is not held"
    remedy = "Begin the MuSig2 session again with new nonces of all signers."

    def __init__(self, public_nonce: str, key: str) -> None:
        super().__init__(public_nonce, key)


class KeyExhaustedError(AnyaError):
    """One version of the key has encrypted as often as it may."""

    code = "key-exhausted"
    message = "version {1} of key {0} has made the {2} encryptions that it may make"
    remedy = "Rotate the key: the new version encrypts, the old ones still decrypt."

    def __init__(self, key: str, version: int, limit: int) -> None:
        super().__init__(key, version, limit)


class KeyRateError(AnyaError):
    """The key's policy bounds its operations in a second, and they are made."""

    code = "key-rate"
    message = "key {} acts at most {} times in a second"
    remedy = "Ask again in a second."

    def __init__(self, key: str, rate_per_s: int, retry_after_s: int = 1) -> None:
        super().__init__(key, rate_per_s, retry_after_s)
        self.retry_after_s = retry_after_s


class ApprovalNeededError(AnyaError):
    """The key's policy wants more approvals for this."""

    code = "approval-needed"
    message = "to {1} key {0} takes {2} more approvals"
    remedy = "Let the key's approvers approve it; an approval holds for an hour."

    def __init__(self, key: str, operation: str, missing: int) -> None:
        super().__init__(key, operation, missing)


class WaitingPeriodError(AnyaError):
    """A deleted key can be restored until its waiting period is over, and not be destroyed before."""

    code = "waiting-period"
    message = "key {} is destroyed at {} (Unix milliseconds) at the earliest"
    remedy = "Wait, or restore it."

    def __init__(self, key: str, destroy_unix_ms: int) -> None:
        super().__init__(key, destroy_unix_ms)


class RevocationLimitError(AnyaError):
    """As many single tokens, or subjects and clients, are revoked as the list holds."""

    code = "revocation-limit"
    message = "{} revocations are in force, the limit"
    remedy = (
        "Revoke by subject, which takes one place; or rotate the token key with `revoke`, which ends all."
    )

    def __init__(self, limit: int) -> None:
        super().__init__(limit)


class UnknownClientError(AnyaError):
    """There is no such client."""

    code = "unknown-client"
    message = "there is no client {}"
    remedy = "List them: `anya hsm client list`."

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)


class ClientExistsError(AnyaError):
    """The client id is taken."""

    code = "client-exists"
    message = "the client id {} is taken"
    remedy = "Choose another, or delete that client first."

    def __init__(self, client_id: str) -> None:
        super().__init__(client_id)


class InvalidClientError(AnyaError):
    """No such client, a wrong secret, or a client that is disabled: the answer is the same."""

    code = "invalid-client"
    message = "the client's credentials are not valid"
    remedy = "Check id and secret; an admin can rotate the secret and enable the client."


class ClientThrottledError(AnyaError):
    """Too many wrong credentials were shown; right ones are always taken."""

    code = "client-throttled"
    message = "too many wrong client credentials were shown"
    remedy = "Send the right ones, or wait for as long as Retry-After says."

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class InvalidScopeError(AnyaError):
    """The client asked for more than it was registered for."""

    code = "invalid-scope"
    message = "the client may not have the scope {}"
    remedy = "Ask for less, or for no scope: then the token has all that the client may have."

    def __init__(self, scope: str) -> None:
        super().__init__(scope)
