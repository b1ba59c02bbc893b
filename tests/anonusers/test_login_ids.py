"""Login IDs: one spelling for each, and no look-alikes."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anonusers.errors import InvalidLoginID
from anonusers.login_ids import EMAIL, LENGTH_MAX, PHONE, RESERVED, TYPES, USERNAME, guess_type, parse_login_id

pytestmark = [pytest.mark.spec("UTS 39", "5.2")]

# Two spellings of one mailbox, number or name.
SAME = [
    (EMAIL, "anna@example.com", "ANNA@EXAMPLE.COM"),
    (EMAIL, "anna@example.com", "  anna@example.com\n"),
    (EMAIL, "anna@example.com", "Anna@Example.Com"),
    (EMAIL, "anna@example.com", "ａｎｎａ＠ｅｘａｍｐｌｅ．ｃｏｍ"),  # full-width, as a Japanese keyboard writes it
    (EMAIL, "anna@example.com", "anna@EXAMPLE。com"),
    (EMAIL, "anna@example.com", "𝐚𝐧𝐧𝐚@example.com"),
    (EMAIL, "fi@example.com", "ﬁ@example.com"),
    (EMAIL, "strasse@example.com", "straße@example.com"),
    (EMAIL, "strasse@example.com", "STRAẞE@example.com"),
    (EMAIL, "müller@example.com", "MÜLLER@example.com"),
    (EMAIL, "müller@example.com", "mu\u0308ller@example.com"),
    (EMAIL, "anna@xn--mller-kva.example", "anna@müller.example"),
    (EMAIL, "anna@xn--mller-kva.example", "anna@MÜLLER.example"),
    (EMAIL, "anna@xn--mller-kva.example", "anna@mu\u0308ller.example"),
    (EMAIL, "σοφία@παράδειγμα.gr", "ΣΟΦΊΑ@ΠΑΡΆΔΕΙΓΜΑ.gr"),
    (EMAIL, "νίκος@example.gr", "ΝΊΚΟΣ@example.gr"),  # a final sigma
    (EMAIL, "иван@пример.example", "ИВАН@ПРИМЕР.example"),
    (EMAIL, "kelvin@example.com", "\u212aelvin@example.com"),
    (EMAIL, "a1@example.com", "a¹@example.com"),
    (PHONE, "+886912345678", "+886 912 345 678"),
    (PHONE, "+886912345678", "+886 0912-345-678"),
    (PHONE, "+886912345678", "+886-912-345-678"),
    (PHONE, "+886912345678", "＋８８６９１２３４５６７８"),
    (PHONE, "+886912345678", " +886 (912) 345.678 "),
    (PHONE, "+886912345678", "+٨٨٦٩١٢٣٤٥٦٧٨"),
    (PHONE, "+4930901820", "+49 (0)30 901820"),
    (PHONE, "+4930901820", "+49 30 90 18 20"),
    (PHONE, "+12015550123", "+1 (201) 555-0123"),
    (PHONE, "+442079460958", "+44 20 7946 0958"),
    (USERNAME, "anna", "ANNA"),
    (USERNAME, "anna", "Anna"),
    (USERNAME, "anna", " anna "),
    (USERNAME, "anna", "ａｎｎａ"),
    (USERNAME, "file", "ﬁle"),
    (USERNAME, "strasse", "straße"),
    (USERNAME, "kelvin", "\u212aelvin"),
    (USERNAME, "long_name", "lon\uff47_name"),
    (USERNAME, "x2y", "x²y"),
]
DIFFERENT = [
    (EMAIL, "anna@example.com", "anna@example.org"),
    (EMAIL, "anna@example.com", "an.na@example.com"),  # what dots mean is the provider's business
    (EMAIL, "anna@example.com", "anna+shop@example.com"),
    (EMAIL, "anna@example.com", "anná@example.com"),
    (PHONE, "+886912345678", "+886912345679"),
    (USERNAME, "anna", "anna1"),
    (USERNAME, "anna", "an-na"),
]
REFUSED = [
    (EMAIL, "аnna@example.com"),  # one Cyrillic letter
    (EMAIL, "anna@exаmple.com"),
    (EMAIL, "anna@xn--exmple-4nf.com"),  # the same, written as it travels
    (EMAIL, "annα@example.com"),
    (EMAIL, "anna.иван@example.com"),
    (EMAIL, ""),
    (EMAIL, " "),
    (EMAIL, "anna"),
    (EMAIL, "@example.com"),
    (EMAIL, "anna@"),
    (EMAIL, "anna@example"),
    (EMAIL, "anna@@example.com"),
    (EMAIL, "anna@example..com"),
    (EMAIL, "anna@example.com."),
    (EMAIL, "anna@.example.com"),
    (EMAIL, "anna@-example.com"),
    (EMAIL, "anna@[127.0.0.1]"),
    (EMAIL, "anna smith@example.com"),
    (EMAIL, '"anna"@example.com'),
    (EMAIL, '"victim@example.com"@evil.example'),
    (EMAIL, "Anna <anna@example.com>"),
    (EMAIL, "anna@example.com, eve@example.com"),
    (EMAIL, "anna@example.com\r\nBcc: eve@example.com"),
    (EMAIL, "anna\x00@example.com"),
    (EMAIL, "anna@example.com\x00"),
    (EMAIL, "an\u200bna@example.com"),  # zero width
    (EMAIL, "an\u202ena@example.com"),  # turns the direction
    (EMAIL, "an\u00adna@example.com"),  # soft hyphen
    (EMAIL, "an\ue000na@example.com"),
    (EMAIL, "\U000e0061nna@example.com"),
    (EMAIL, "💥@example.com"),
    (EMAIL, "a" * 65 + "@example.com"),
    (EMAIL, "a@" + "b" * 64 + ".com"),
    (EMAIL, "a@" + "b." * 130 + "com"),
    (EMAIL, "a" * 60 + "@" + ".".join(["ü" * 25] * 6) + ".com"),  # too long only once it is encoded
    (EMAIL, "a" * 1_000_000 + "@example.com"),
    (PHONE, ""),
    (PHONE, "0912345678"),  # of which country?
    (PHONE, "912345678"),
    (PHONE, "+"),
    (PHONE, "+886"),
    (PHONE, "+886 1"),
    (PHONE, "+999 123 456 789"),
    (PHONE, "+886912345678901234"),
    (PHONE, "+49 30 901820 ext. 5"),
    (PHONE, "+49 30 901820;ext=5"),
    (PHONE, "+49 30 901820 x5"),
    (PHONE, "+49 30 901820#5"),
    (PHONE, "+1-800-FLOWERS"),
    (PHONE, "call +49 30 901820"),
    (PHONE, "tel:+4930901820"),
    (PHONE, "+4930901820\x00"),
    (PHONE, "+49 30\n901820"),
    (PHONE, "anna@example.com"),
    (USERNAME, ""),
    (USERNAME, "ab"),
    (USERNAME, "a" * 41),
    (USERNAME, "an na"),
    (USERNAME, "anna@example"),
    (USERNAME, "änna"),
    (USERNAME, "аnna"),
    (USERNAME, "анна"),
    (USERNAME, "-anna"),
    (USERNAME, "anna."),
    (USERNAME, "_anna"),
    (USERNAME, "an\x00na"),
    (USERNAME, "an\nna"),
    (USERNAME, "an\u200bna"),
    (USERNAME, "anna/../admin"),
    (USERNAME, "anna<b>"),
    (USERNAME, "Admin"),
    (USERNAME, "ＡＤＭＩＮ"),
    (USERNAME, "ſupport"),  # a long s
    ("card", "4711"),
    ("", "anna@example.com"),
]
READ_AS_MEANT = [
    (EMAIL, "サーバー@例え.jp"),  # the long vowel belongs to the writing around it
    (EMAIL, "佐々木@例え.jp"),
    (EMAIL, "o'neill+news@example.co.uk"),
    (EMAIL, "김철수@예시.kr"),
    (EMAIL, "x@y.example"),
    (PHONE, "+390612345678"),  # Italy keeps its zero
    (USERNAME, "a.b-c_d"),
    (USERNAME, "4711"),
]


def key(type, text):
    return parse_login_id(type, text).key


@pytest.mark.parametrize(("type", "one", "other"), SAME)
def test_two_spellings_are_one_login_id(type, one, other):
    assert key(type, one) == key(type, other)


@pytest.mark.parametrize(("type", "one", "other"), DIFFERENT)
def test_what_may_belong_to_two_people_is_two(type, one, other):
    assert key(type, one) != key(type, other)


@pytest.mark.parametrize(("type", "text"), REFUSED, ids=lambda value: ascii(value)[:40])
def test_what_is_none_or_looks_like_another_is_refused(type, text):
    with pytest.raises(InvalidLoginID):
        parse_login_id(type, text)


@pytest.mark.parametrize(("type", "text"), READ_AS_MEANT)
def test_names_of_the_world_are_read(type, text):
    assert parse_login_id(type, text).type == type


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_nobody_is_called_like_the_staff(name):
    for text in (name, name.upper(), f" {name}"):
        with pytest.raises(InvalidLoginID, match="user name"):
            parse_login_id(USERNAME, text)


def test_the_address_that_mail_goes_to_keeps_its_case_and_the_domain_travels_in_ascii():
    parsed = parse_login_id(EMAIL, "Anna.Müller@MÜLLER.example")
    assert parsed.value == "Anna.Müller@xn--mller-kva.example"
    assert parsed.normalized == "anna.müller@xn--mller-kva.example"


def test_a_key_tells_the_type_and_shows_nothing():
    assert key(PHONE, "+886912345678") != parse_login_id(PHONE, "+886912345678").value
    assert len({key(EMAIL, "anna@example.com"), key(USERNAME, "anna")}) == 2
    assert all(len(key(*pair)) == 64 for pair in READ_AS_MEANT)


def test_the_message_says_what_to_do():
    for type, word in ((EMAIL, "e-mail"), (PHONE, "country code"), (USERNAME, "letters")):
        with pytest.raises(InvalidLoginID, match=word) as caught:
            parse_login_id(type, "!")
        assert caught.value.type == type


@pytest.mark.parametrize(
    ("text", "allowed", "type"),
    [
        ("anna@example.com", TYPES, EMAIL),
        ("ａｎｎａ＠example.com", TYPES, EMAIL),
        ("anna", TYPES, USERNAME),
        ("+886 912 345 678", TYPES, PHONE),
        ("＋８８６９１２３４５６７８", TYPES, PHONE),
        ("4711.23", TYPES, USERNAME),  # no number without its country
        ("471123", TYPES, USERNAME),
        ("0912 345 678", (EMAIL, PHONE), PHONE),  # so that the message is about numbers
        ("anna", (EMAIL,), EMAIL),
        ("anna@example.com", (USERNAME,), USERNAME),
        ("anna", (), EMAIL),
    ],
)
def test_one_field_takes_all_kinds(text, allowed, type):
    assert guess_type(text, list(allowed)) == type


def test_without_the_phone_library_numbers_are_refused_in_words(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "phonenumbers", None)
    with pytest.raises(InvalidLoginID, match="not supported"):
        parse_login_id(PHONE, "+886912345678")


# --- for every text ---------------------------------------------------------------------------------

TEXTS = st.text(max_size=40) | st.text(string.ascii_letters + string.digits + "._-+@ßﬁаα é", max_size=40)
LABELS = st.text(string.ascii_letters + "üßéжя中", min_size=1, max_size=12)
ADDRESSES = st.builds("{}@{}.example".format, st.text(min_size=1, max_size=20) | LABELS, LABELS)
NUMBERS = st.builds("+{}{}".format, st.sampled_from([1, 44, 49, 886, 39]), st.integers(10**7, 10**10))


def parsed(type, text):
    try:
        return parse_login_id(type, text)
    except InvalidLoginID:
        return None


@given(st.sampled_from(TYPES), TEXTS | ADDRESSES | NUMBERS)
def test_to_parse_again_changes_nothing(type, text):
    if login_id := parsed(type, text):
        assert parse_login_id(type, login_id.value) == login_id


@given(st.sampled_from(TYPES), TEXTS | ADDRESSES | NUMBERS)
def test_only_what_fits_into_the_database_and_a_mail_header_is_a_login_id(type, text):
    if login_id := parsed(type, text):
        assert 0 < len(login_id.value) <= LENGTH_MAX
        assert not any(unicodedata.category(c)[0] in "CZ" for c in login_id.value)
        assert '"' not in login_id.value


@given(st.sampled_from(TYPES), TEXTS | ADDRESSES)
def test_compatible_forms_and_space_around_make_no_difference(type, text):
    if login_id := parsed(type, text):
        for other in (f" {text}\t", unicodedata.normalize("NFD", text), unicodedata.normalize("NFKC", text)):
            assert parse_login_id(type, other).key == login_id.key


@given(st.text(string.ascii_letters + "üéöñçжяш", min_size=1, max_size=20), LABELS)
def test_case_makes_no_difference(local, domain):
    address = f"{local}@{domain}.example"
    if login_id := parsed(EMAIL, address):
        assert parse_login_id(EMAIL, address.swapcase()).key == login_id.key
