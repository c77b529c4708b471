"""The demo texts: fixed, held out by pair, and consistent with their facts."""

import re
from hashlib import sha256

import pytest

from qpeft.assets.harbour import CARGOES, OFFICERS, PORTS, SHIPS
from qpeft.assets.texts import COUNT, demo_texts, pairs
from qpeft.errors import ConfigError

SPLITS = ("train", "valid", "test")


def pages() -> list[str]:
    return [page for split in SPLITS for page in demo_texts(split)]


def test_the_texts_are_the_same_everywhere() -> None:
    # Records name this text by its digest: a change here is a new data set and must be meant.
    digest = sha256("\n".join(pages()).encode()).hexdigest()
    assert digest == "6d2fa3a1b11d5d4a2334475f421250cf10fed2e397088fed06bc61c46ce76dec"


def test_splits_have_their_sizes_and_share_no_page() -> None:
    assert {split: len(demo_texts(split)) for split in SPLITS} == COUNT
    assert len(set(pages())) == sum(COUNT.values())


def named(page: str) -> tuple[str, str]:
    ship = [ship.name for ship in SHIPS if ship.name in page]
    officer = [officer.name for officer in OFFICERS if officer.name in page]
    assert len(ship) == len(officer) == 1, page
    return ship[0], officer[0]


def test_every_held_out_page_is_about_a_pair_never_trained_on() -> None:
    written = {split: {named(page) for page in demo_texts(split)} for split in SPLITS}
    assert not written["train"] & (written["valid"] | written["test"])
    assert not written["valid"] & written["test"]
    for split in SPLITS:
        assert written[split] <= {(ship.name, officer.name) for ship, officer in pairs(split)}


def test_every_ship_and_officer_is_known_from_training() -> None:
    written = {named(page) for page in demo_texts("train")}
    assert {ship for ship, _ in written} == {ship.name for ship in SHIPS}
    assert {officer for _, officer in written} == {officer.name for officer in OFFICERS}


def test_facts_agree_on_every_page() -> None:
    ships = {ship.name: ship for ship in SHIPS}
    officers = {officer.name: officer for officer in OFFICERS}
    for page in pages():
        ship, officer = ships[named(page)[0]], officers[named(page)[1]]
        assert ship.master in page
        assert ship.berth in page
        assert officer.duty in page
        assert {port for port in PORTS if port in page} <= {ship.port}
        assert {store for _, store in CARGOES.values() if store in page} <= {CARGOES[ship.cargo][1]}


def test_pages_are_sentences() -> None:
    for page in pages():
        sentences = re.split(r"(?<=\.) ", page)
        assert 3 <= len(sentences) <= 4
        assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
        assert "{" not in page
        assert "  " not in page
        assert 30 <= len(page.split()) <= 95


def test_changing_the_list_does_not_change_the_texts() -> None:
    demo_texts("valid").clear()
    assert len(demo_texts("valid")) == COUNT["valid"]


def test_unknown_split_names_the_choices() -> None:
    with pytest.raises(ConfigError, match="train, valid, test; got 'tst'; nearest: test"):
        demo_texts("tst")  # type: ignore[arg-type]
