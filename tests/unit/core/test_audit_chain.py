"""The chain of audit entries, link by link, and what is said of each way to break it."""

import hashlib

import msgspec
import pytest

from controlplane.core.audit_chain import BEGINNING, Verifier, digest_of
from controlplane.records.audit import ExportedLink

ZEROES = "00" * 32


def chain(count, first=1, previous=ZEROES):
    """Whole links, made with nothing but SHA-256."""
    links = []
    for seq in range(first, first + count):
        body = f"entry number {seq}"
        digest = hashlib.sha256(bytes.fromhex(previous) + body.encode()).hexdigest()
        links.append(ExportedLink(seq=seq, previous=previous, digest=digest, body=body))
        previous = digest
    return links


def problem_of(links):
    verifier = Verifier()
    assert not verifier.verify(links)
    return verifier.problem


def changed(links, place, **fields):
    return [*links[:place], msgspec.structs.replace(links[place], **fields), *links[place + 1 :]]


def test_a_link_is_known_by_the_hash_of_the_one_before_and_its_own_text():
    assert digest_of(b"before", b"body") == hashlib.sha256(b"beforebody").digest()
    assert bytes(32) == BEGINNING


def test_a_whole_chain_says_from_where_to_where_it_goes():
    links = chain(3)
    verifier = Verifier()
    assert verifier.verify(links)
    assert (verifier.first, verifier.last, verifier.digest, verifier.problem) == (1, 3, links[-1].digest, None)


def test_a_chain_that_comes_in_parts_is_one_chain():
    links = chain(5)
    verifier = Verifier()
    assert verifier.verify(links[:2])
    assert verifier.verify([])
    assert verifier.verify(links[2:])
    assert (verifier.first, verifier.last, verifier.digest) == (1, 5, links[-1].digest)


def test_no_links_are_a_whole_chain():
    verifier = Verifier()
    assert verifier.verify([])
    assert (verifier.first, verifier.last, verifier.digest, verifier.problem) == (None, None, None, None)


def test_a_chain_may_begin_later_when_older_entries_were_forgotten():
    verifier = Verifier()
    assert verifier.verify(chain(2, first=7, previous="ab" * 32))
    assert (verifier.first, verifier.last) == (7, 8)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_altered_text_is_found(place):
    assert problem_of(changed(chain(3), place, body="forged")) == f"entry {place + 1} was altered"


def test_an_entry_that_was_forged_with_its_digest_breaks_the_chain_behind_it():
    links = chain(3)
    digest = hashlib.sha256(bytes.fromhex(links[0].digest) + b"forged").hexdigest()
    assert problem_of(changed(links, 1, body="forged", digest=digest)) == "entry 3 does not follow the one before it"


def test_a_missing_entry_is_found():
    links = chain(5)
    assert problem_of([*links[:2], *links[4:]]) == "entry 3 is missing; 5 follows 2"


def test_a_repeated_entry_is_found():
    links = chain(2)
    assert problem_of([*links, links[1]]) == "entry 3 is missing; 2 follows 2"


def test_the_first_entry_of_all_follows_nothing():
    assert problem_of(chain(2, previous="ab" * 32)) == "entry 1 is not the first one"


def test_what_was_found_wrong_stays_wrong():
    links = chain(4)
    verifier = Verifier()
    assert not verifier.verify([*links[:2], links[3]])
    assert not verifier.verify([links[2]])
    assert not verifier.verify([])
    assert (verifier.first, verifier.last, verifier.digest) == (1, 2, links[1].digest)
    assert verifier.problem == "entry 3 is missing; 4 follows 2"
