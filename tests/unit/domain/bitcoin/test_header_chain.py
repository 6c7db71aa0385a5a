"""Chains of headers: the difficulty of every network, and each rule that headers alone can break."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anya_actors.domain.bitcoin.block import BlockHeader, meets_target, parse_header, target_of
from anya_actors.domain.bitcoin.difficulty import RULES, TIMESPAN_S, DifficultyRules, bits_of
from anya_actors.domain.bitcoin.errors import RejectedBlockError
from anya_actors.domain.bitcoin.hashes import BlockHash
from anya_actors.domain.bitcoin.header_chain import GENESIS, Anchor, HeaderChain, UnknownHeaderError
from anya_actors.domain.bitcoin.network import Network

NOW_S = 1_800_000_000

# The first two headers of mainnet after its genesis.
FIRST = parse_header(
    bytes.fromhex(
        "010000006fe28c0ab6f1b372c1a6a246ae63f74f931e8365e15a089c68d6190000000000982051fd1e4ba744bbbe680e1fee1467"
        "7ba1a3c3540bf7b1cdb606e857233e0e61bc6649ffff001d01e36299"
    )
)
SECOND = parse_header(
    bytes.fromhex(
        "010000004860eb18bf1b1620e37e9490fc8a427514416fd75159ab86688e9a8300000000d5fdcc541e25de1c7a5addedf24858b8"
        "bb665c9f36ef744ee42c316022c90f9bb0bc6649ffff001d08d2bd61"
    )
)


def header(time_s: int, bits: int = 0x1D00FFFF) -> BlockHeader:
    return BlockHeader(4, BlockHash(bytes(32)), bytes(32), time_s, bits, 0)


# bitcoin/bitcoin, src/test/pow_tests.cpp: (time of the first, time of the last, bits, next bits).
@pytest.mark.parametrize(
    ("first_s", "last_s", "bits", "expected"),
    [
        (1261130161, 1262152739, 0x1D00FFFF, 0x1D00D86A),
        (1231006505, 1233061996, 0x1D00FFFF, 0x1D00FFFF),  # never easier than the easiest
        (1279008237, 1279297671, 0x1C05A3F4, 0x1C0168FD),  # never by more than a factor of four
        (1263163443, 1269211443, 0x1C387F6F, 0x1D00E1FD),
    ],
)
def test_difficulty_follows_time_as_in_core(first_s: int, last_s: int, bits: int, expected: int) -> None:
    headers = {0: header(first_s, bits), 2015: header(last_s, bits)}
    assert RULES[Network.MAINNET].next_bits(2016, last_s, headers.__getitem__) == expected
    assert RULES[Network.TESTNET].next_bits(2016, last_s, headers.__getitem__) == expected
    assert RULES[Network.REGTEST].next_bits(2016, last_s, headers.__getitem__) == bits


def test_between_two_retargets_difficulty_stays() -> None:
    headers = {2016: header(0, 0x1C05A3F4)}
    assert RULES[Network.MAINNET].next_bits(2017, 10**9, headers.__getitem__) == 0x1C05A3F4


def test_a_late_block_of_testnet_is_easy_and_the_next_is_not() -> None:
    easy, hard = 0x1D00FFFF, 0x1C05A3F4
    headers = {2016: header(0, hard), 2017: header(1201, easy), 2018: header(2402, easy)}
    rules = RULES[Network.TESTNET]
    assert rules.next_bits(2017, 1200, headers.__getitem__) == hard
    assert rules.next_bits(2017, 1201, headers.__getitem__) == easy
    assert rules.next_bits(2019, 2403, headers.__getitem__) == hard
    # The walk back ends at the first of the period, whatever its bits (testnet3).
    headers[2016] = header(0, easy)
    assert rules.next_bits(2019, 2403, headers.__getitem__) == easy


def test_testnet4_reckons_from_the_first_block_of_the_period() -> None:
    headers = {0: header(0, 0x1C05A3F4), 2015: header(TIMESPAN_S, 0x1D00FFFF)}
    assert RULES[Network.TESTNET4].next_bits(2016, TIMESPAN_S, headers.__getitem__) == 0x1C05A3F4
    assert RULES[Network.TESTNET].next_bits(2016, TIMESPAN_S, headers.__getitem__) == 0x1D00FFFF


# bitcoin/bitcoin, src/test/arith_uint256_tests.cpp.
@pytest.mark.parametrize(
    ("bits", "shortest"),
    [
        (0x00123456, 0),
        (0x01123456, 0x01120000),
        (0x02123456, 0x02123400),
        (0x03123456, 0x03123456),
        (0x04123456, 0x04123456),
        (0x05009234, 0x05009234),
        (0x20123456, 0x20123456),
    ],
)
def test_targets_are_encoded_as_in_core(bits: int, shortest: int) -> None:
    assert bits_of(target_of(bits)) == shortest


def test_a_target_whose_top_bit_would_be_a_sign_takes_a_byte_more() -> None:
    assert bits_of(0x80) == 0x02008000


@given(st.integers(0, 2**256 - 1))
def test_encoding_a_target_rounds_it_down_once(target: int) -> None:
    rounded = target_of(bits_of(target))
    assert rounded <= target < rounded + (1 << max(0, target.bit_length() - 15))
    assert target_of(bits_of(rounded)) == rounded


@pytest.mark.parametrize("network", Network)
def test_the_first_header_of_each_network_has_its_work(network: Network) -> None:
    anchor = GENESIS[network].header
    assert meets_target(anchor.hash, anchor.bits)
    assert target_of(anchor.bits) <= RULES[network].easiest_target


def test_mainnets_first_headers_make_a_chain() -> None:
    chain = HeaderChain(Network.MAINNET)
    chain.extend([FIRST, SECOND], now_s=NOW_S)
    assert (chain.height, chain.tip, chain.first_height) == (2, SECOND, 0)
    assert chain.work == 3 * 0x100010001
    assert chain.height_of(FIRST.hash) == 1
    assert chain.header_at(0) == GENESIS[Network.MAINNET].header
    assert chain.median_time_past_s() == FIRST.time_s
    chain.cut(1)
    assert (chain.height, chain.work) == (1, 2 * 0x100010001)
    for unknown in (lambda: chain.height_of(SECOND.hash), lambda: chain.header_at(2), lambda: chain.cut(7)):
        with pytest.raises(UnknownHeaderError):
            unknown()


def test_a_checkpoint_admits_one_header() -> None:
    right = HeaderChain(Network.MAINNET, checkpoints={1: FIRST.hash})
    right.extend([FIRST], now_s=NOW_S)
    wrong = HeaderChain(Network.MAINNET, checkpoints={1: SECOND.hash})
    with pytest.raises(RejectedBlockError, match="checkpoint mismatch"):
        wrong.extend([FIRST], now_s=NOW_S)
    assert wrong.height == 0


def mine(chain: HeaderChain, time_s: int, *, bits: int = 0x207FFFFF, version: int = 4) -> BlockHeader:
    mined = BlockHeader(version, chain.tip.hash, bytes(32), time_s, bits, 0)
    while not meets_target(mined.hash, bits):
        mined = msgspec.structs.replace(mined, nonce=mined.nonce + 1)
    return mined


def grown(blocks: int, *, spacing_s: int = 600, anchor: Anchor | None = None) -> HeaderChain:
    chain = HeaderChain(Network.REGTEST, anchor)
    for _ in range(blocks):
        chain.extend([mine(chain, chain.tip.time_s + spacing_s)], now_s=NOW_S)
    return chain


def refusal(chain: HeaderChain, bad: BlockHeader, *, now_s: int = NOW_S) -> str:
    height, work = chain.height, chain.work
    with pytest.raises(RejectedBlockError) as refused:
        chain.extend([bad], now_s=now_s)
    assert (chain.height, chain.work) == (height, work)
    return refused.value.reason


def test_each_rule_refuses_by_cores_reason() -> None:
    chain = grown(12)
    time_s = chain.tip.time_s
    good = mine(chain, time_s + 1)
    assert (
        refusal(chain, msgspec.structs.replace(good, previous=BlockHash(bytes(32)))) == "prev-blk-not-found"
    )
    weak = good
    while meets_target(weak.hash, weak.bits):
        weak = msgspec.structs.replace(weak, nonce=weak.nonce + 1)
    assert refusal(chain, weak) == "high-hash"
    assert refusal(chain, mine(chain, time_s, bits=0x2000FFFF)) == "bad-diffbits"
    assert refusal(chain, msgspec.structs.replace(good, bits=0x217FFFFF)) == "high-hash"
    assert refusal(chain, msgspec.structs.replace(good, bits=0)) == "high-hash"
    assert refusal(chain, mine(chain, chain.median_time_past_s())) == "time-too-old"
    assert refusal(chain, good, now_s=good.time_s - 7201) == "time-too-new"
    assert refusal(chain, mine(chain, time_s, version=3)) == "bad-version(0x00000003)"
    assert refusal(chain, mine(chain, time_s, version=-1)) == "bad-version(0xffffffff)"
    chain.extend([good], now_s=good.time_s - 7200)


def test_mainnets_old_versions_are_right_at_their_time() -> None:
    assert FIRST.version == 1
    HeaderChain(Network.MAINNET).extend([FIRST], now_s=NOW_S)


def test_headers_before_a_bad_one_stay() -> None:
    chain = HeaderChain(Network.MAINNET)
    with pytest.raises(RejectedBlockError):
        chain.extend([FIRST, FIRST], now_s=NOW_S)
    assert chain.height == 1


def test_a_chain_begins_at_any_anchor_one_trusts() -> None:
    whole = grown(15)
    anchor = Anchor(3, whole.header_at(3), 6)
    chain = HeaderChain(Network.REGTEST, anchor)
    chain.extend([whole.header_at(height) for height in range(4, 16)], now_s=NOW_S)
    assert (chain.height, chain.work) == (15, whole.work)
    with pytest.raises(UnknownHeaderError):
        chain.header_at(2)
    # Too few headers for a median: an old time is not held against the first ones.
    young = HeaderChain(Network.REGTEST, anchor)
    young.extend([mine(young, 1)], now_s=NOW_S)


def test_a_retarget_that_looks_below_the_anchor_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, Network.REGTEST, DifficultyRules(0x207FFFFF))
    anchor = Anchor(2014, GENESIS[Network.REGTEST].header)
    chain = HeaderChain(Network.REGTEST, anchor)
    chain.extend([mine(chain, chain.tip.time_s + 1)], now_s=NOW_S)
    with pytest.raises(UnknownHeaderError, match="height 0"):
        chain.extend([mine(chain, chain.tip.time_s + 1)], now_s=NOW_S)


def test_testnet4_allows_no_time_warp(monkeypatch: pytest.MonkeyPatch) -> None:
    # Its own work is out of a test's reach: the same rule at regtest's difficulty.
    monkeypatch.setitem(
        RULES, Network.REGTEST, DifficultyRules(0x207FFFFF, allows_easy_blocks=True, bip94=True)
    )
    chain = HeaderChain(Network.REGTEST)
    for _ in range(2015):
        chain.extend([mine(chain, chain.tip.time_s + 1201)], now_s=NOW_S)
    warped = mine(chain, chain.tip.time_s - 601)
    assert refusal(chain, warped) == "time-timewarp-attack"
    allowed = mine(chain, chain.tip.time_s - 600)
    chain.extend([allowed], now_s=NOW_S)
