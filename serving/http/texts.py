"""What requests about texts hold: single texts or pairs of texts, as the cascade that they are for takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from serving.errors import InvalidInputError, kind_of
from serving.http.body import MAX_TEXTS, not_too_long, required
from serving.http.guard import JsonObject, described
from serving.model.pairs import characters_of, check_pair
from serving.model.text import Text, TextPair, check_text

BESIDE = {"budget_ms", "model"}
_ELSEWHERE = (
    "must be left out, as the cascade that is served here is for single texts, got one; send texts alone, or ask a "
    "cascade that is for pairs"
)


class Checked(NamedTuple):
    """The sound texts of a list by their place, and an entry for each place, with the error of what is not sound."""

    good: dict[int, Text]
    entries: list[JsonObject]


class TextForm(Protocol):
    """How requests name the texts that they bring."""

    one_keys: set[str]
    """The keys of a request for one answer."""
    many_keys: set[str]
    """The keys of a request for several."""
    misplaced: Mapping[str, str]
    """Keys that another cascade takes, with what is to be said of them."""

    def one(self, body: Mapping[str, object]) -> Text:
        """What a request for one answer asks about. Raises InvalidInputError if it breaks a rule."""

    def many(self, body: Mapping[str, object]) -> Checked:
        """What a request for several asks about. Raises InvalidInputError if it is no list of 1 to MAX_TEXTS."""

    def characters(self, texts: Sequence[Text]) -> int:
        """How many characters there are to tokenise."""


class SingleTexts:
    """Requests to a cascade for single texts."""

    one_keys, many_keys = BESIDE | {"text"}, BESIDE | {"texts"}
    misplaced: Mapping[str, str] = dict.fromkeys(("text_pair", "text_pairs"), _ELSEWHERE)

    def one(self, body: Mapping[str, object]) -> Text:
        return check_text(not_too_long(required(body, "text"), "text"))

    def many(self, body: Mapping[str, object]) -> Checked:
        texts = _list_of(body, "texts")
        checked = Checked({}, [{} for _ in texts])
        for place, text in enumerate(texts):
            try:
                field = f"texts[{place}]"
                checked.good[place] = check_text(not_too_long(text, field), field)
            except InvalidInputError as error:
                checked.entries[place] = {"error": described(error)}
        return checked

    def characters(self, texts: Sequence[Text]) -> int:
        return sum(map(len, texts))


class TextPairs:
    """Requests to a cascade for pairs of texts."""

    one_keys, many_keys = BESIDE | {"text", "text_pair"}, BESIDE | {"texts", "text_pairs"}
    misplaced: Mapping[str, str] = {}

    def one(self, body: Mapping[str, object]) -> Text:
        text = required(body, "text")
        require_both(body, "text", "text_pair")
        return check_pair(not_too_long(text, "text"), not_too_long(body["text_pair"], "text_pair"))

    def many(self, body: Mapping[str, object]) -> Checked:
        texts = _list_of(body, "texts")
        require_both(body, "texts", "text_pairs")
        text_pairs = _list_of(body, "text_pairs")
        if len(text_pairs) != len(texts):
            raise InvalidInputError(
                "text_pairs", f"must be as many as texts, {len(texts)}, got {len(text_pairs)}; send one for each text"
            )
        checked = Checked({}, [{} for _ in texts])
        for place, (text, text_pair) in enumerate(zip(texts, text_pairs, strict=True)):
            try:
                field, pair_field = f"texts[{place}]", f"text_pairs[{place}]"
                pair = not_too_long(text, field), not_too_long(text_pair, pair_field)
                checked.good[place] = check_pair(*pair, field, pair_field)
            except InvalidInputError as error:
                checked.entries[place] = {"error": described(error)}
        return checked

    def characters(self, texts: Sequence[Text]) -> int:
        return sum(characters_of(pair) for pair in texts if isinstance(pair, TextPair))


SINGLE, PAIRS = SingleTexts(), TextPairs()


def form_of(pairs: bool) -> TextForm:
    """How requests to a cascade name their texts, for pairs or for single texts."""
    return PAIRS if pairs else SINGLE


def _list_of(body: Mapping[str, object], field: str) -> list[object]:
    texts = required(body, field)
    if not isinstance(texts, list) or not 1 <= len(texts) <= MAX_TEXTS:
        got = f"a list of {len(texts)}" if isinstance(texts, list) else kind_of(texts)
        raise InvalidInputError(field, f"must be a list of 1 to {MAX_TEXTS} strings, got {got}; send fewer or more")
    return texts


def require_both(body: Mapping[str, object], field: str, pair_field: str) -> None:
    """Raise InvalidInputError if a request has `field` without `pair_field`, which a cascade for pairs needs."""
    if pair_field not in body:
        raise InvalidInputError(
            pair_field,
            "must be there, as the cascade that is served here is for pairs of texts, got an object without it; send "
            f"{field} and {pair_field}",
        )
