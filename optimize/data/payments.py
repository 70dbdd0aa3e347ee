"""Synthetic payment messages for the demo, in the style of a bank's support chat.

All messages are generated and none was written by a customer: results show how the pipeline works and say nothing about
any bank. In most messages, words of the matter itself give the label. The others are hard for a bag of words: they name
two or three matters of which one is open, and all matters share the words that say whether they are open or settled
("is no longer a problem", "is still a problem"). Only the order of the words tells which is which.
"""

from __future__ import annotations

import random
import string

# For each label: sentences of an open matter, and below of a settled one, which does not decide the label.
OPEN: dict[str, tuple[str, ...]] = {
    "card-declined": (
        "my card was refused at {shop} {when} although there is enough money on the account",
        "{shop} would not take my card for {amount}, it just says declined",
        "tried to pay {amount} at {shop} and the terminal turned the card down",
        "the payment of {amount} to {shop} does not go through, the card gets rejected every time",
        "why can i not pay with the card at {shop}? it has been blocked at the till since {when}",
        "standing at {shop} and the card does not work, nothing was taken from the account",
    ),
    "transfer-pending": (
        "the {amount} i sent to {person} {when} has still not arrived",
        "{person} says the transfer of {amount} never reached the account",
        "my transfer to {person} has been shown as pending since {when}",
        "i moved {amount} to my other account {when} and it is on neither of the two",
        "how much longer until {person} gets the {amount}? it left my account {when}",
        "the standing order for {person} went out {when} but the money is not there yet",
    ),
    "refund-missing": (
        "{shop} promised to give me back {amount} {when} and i have seen nothing of it",
        "i returned everything to {shop} {when}, the refund of {amount} is not on my statement",
        "still waiting for {amount} back from {shop}, they say it was sent {when}",
        "the order at {shop} was cancelled {when} but nobody has given the {amount} back",
        "{shop} shows the refund as done, my account does not, it is about {amount}",
        "where is the money for the things i sent back to {shop}? it should be {amount}",
    ),
    "charged-twice": (
        "{shop} took {amount} two times {when}, i bought only one thing",
        "there are two identical bookings of {amount} from {shop} on my statement",
        "i paid {amount} at {shop} once and it shows up again {when}",
        "the first payment to {shop} failed, i paid again, and now both {amount} are gone",
        "same amount, same shop, same day: {amount} from {shop} stands there double",
        "{shop} has booked my {amount} again although i had already paid {when}",
    ),
    "fraud-report": (
        "i have never been to {shop} but {amount} was paid there with my card {when}",
        "somebody spent {amount} at {shop}, it was not me and not my family",
        "i do not know {person} and i never sent {amount} to them, yet it left my account {when}",
        "a payment of {amount} to {shop} that i did not make, the card is here in my pocket",
        "{person} called {when}, said they were the bank, and then {amount} was gone",
        "who is {shop}? i did not order anything and {amount} was taken {when}",
    ),
    "fee-question": (
        "what is the {amount} that you took for my payment at {shop} {when}?",
        "do i pay extra when i send {amount} to {person} abroad?",
        "you kept {amount} as a charge on the transfer to {person}, i thought it was free",
        "how much does it cost to use the card at {shop} in another country?",
        "the statement says service charge {amount} since {when}, what is that for",
        "why did {person} get less than i sent, is the {amount} difference your fee?",
    ),
}
SETTLED: dict[str, tuple[str, ...]] = {
    "card-declined": (
        "the card that was declined at {shop} works again",
        "{shop} did refuse my card {when}, that was my mistake with the pin",
        "not about the blocked card, you fixed that {when}",
    ),
    "transfer-pending": (
        "the transfer to {person} that was pending has arrived",
        "{person} got the {amount} in the end",
        "forget the {amount} i sent to {person}, it is there now",
    ),
    "refund-missing": (
        "the refund from {shop} came through {when}",
        "{shop} has given back the {amount} i asked you about",
        "the money for what i returned to {shop} is on my statement",
    ),
    "charged-twice": (
        "the second {amount} from {shop} was taken back, only one is left",
        "i thought {shop} had booked {amount} two times but i did buy two",
        "the double booking of {when} is corrected",
    ),
    "fraud-report": (
        "the {amount} at {shop} that i reported was my {relative} after all",
        "the payment to {person} that i did not recognise turned out to be mine",
        "no fraud at {shop}, i had only forgotten about it",
    ),
    "fee-question": (
        "the fee of {amount} was explained to me {when}",
        "i know about the charge for abroad",
        "thanks for giving back the {amount} service charge",
    ),
}
# For each label: the matter as a noun phrase, which a status completes.
MATTERS: dict[str, tuple[str, ...]] = {
    "card-declined": ("the declined card at {shop}", "my card that {shop} refused {when}", "the rejected card payment"),
    "transfer-pending": ("the {amount} for {person}", "my transfer to {person}", "the pending transfer of {when}"),
    "refund-missing": ("the refund from {shop}", "the {amount} that {shop} owes me", "the money for my return {when}"),
    "charged-twice": ("the double booking from {shop}", "the second {amount} at {shop}", "being charged twice {when}"),
    "fraud-report": ("the payment at {shop} that was not mine", "the stolen {amount}", "the stranger who used my card"),
    "fee-question": ("the fee of {amount}", "the extra charge for {person}", "the service charge of {when}"),
}
STILL_OPEN = (
    "{matter} is still a problem", "{matter} is not sorted out", "i am still waiting for news on {matter}",
    "please look into {matter}", "nobody has dealt with {matter}", "{matter} has not been solved",
    "i do not think that {matter} is settled", "{matter}: nothing has happened", "{matter} still bothers me",
    "i can not let {matter} rest", "what about {matter}, it is not done", "{matter} is far from fine",
)  # fmt: skip
OVER = (
    "{matter} is no longer a problem", "{matter} is sorted out", "i am not waiting for news on {matter}",
    "you need not look into {matter}", "somebody has dealt with {matter}", "{matter} has been solved",
    "i do think that {matter} is settled", "{matter}: it has happened", "{matter} does not bother me any more",
    "you can let {matter} rest", "forget about {matter}, it is done", "{matter} is fine by now",
)  # fmt: skip
SHOPS = (
    "Nordmarkt", "the bakery on Mill Street", "BlueRail", "Kettle and Oak", "the pharmacy", "Fixbike", "Luma Energy",
    "Parcelino", "the petrol station", "Green Fork", "StreamBox", "Hotel Alba", "Orbit Phones", "Taxi Mia", "Toyhouse",
    "the gym", "Bookworm", "Café Milo", "AirWest", "Garden World", "PixelPlay", "the vet", "Sole Shoes", "CityParking",
)  # fmt: skip
PEOPLE = (
    "my landlord", "Amara", "my sister", "Jonas", "the plumber", "Mrs Okafor", "Li Wei", "my flatmate", "Priya",
    "the sports club", "Tomasz", "my lawyer", "Elena", "the day care", "uncle Rob", "Fatima", "the car dealer", "Sven",
)  # fmt: skip
RELATIVES = ("son", "wife", "husband", "daughter", "mother", "brother")
TIMES = (
    "yesterday", "on Monday", "last week", "this morning", "two days ago", "on the 3rd", "on 12 May", "last Friday",
    "in March", "an hour ago", "three weeks ago", "over the weekend", "on Tuesday evening", "before the holidays",
)  # fmt: skip
OPENERS = ("", "", "", "hello, ", "hi there, ", "good morning. ", "please help: ", "hey ", "urgent! ", "so, ")
CLOSERS = ("", "", "", " thanks", " please check", " what now?", " can you help", " regards", " this is annoying")
# Share of messages whose label depends on the order of the words; a shallow student misses most of them.
HARD_SHARE = 0.2
LINKS = (". ", ", but ", " - ", "; ", ". By the way, ", "! ")


def generate(size: int, seed: int) -> list[tuple[str, str]]:
    """`size` distinct (text, label) pairs with labels in equal shares; the seed decides them on every machine."""
    rng = random.Random(seed)  # nosec B311 # no secret
    labels = list(OPEN)
    rows: dict[str, str] = {}
    while len(rows) < size:
        label = labels[len(rows) % len(labels)]
        rows.setdefault(_message(rng, label), label)
    shuffled = list(rows.items())
    rng.shuffle(shuffled)
    return shuffled


def _message(rng: random.Random, label: str) -> str:
    others = rng.sample([name for name in OPEN if name != label], k=2)
    if rng.random() < HARD_SHARE:
        clauses = [_status(rng, label, STILL_OPEN), *(_status(rng, other, OVER) for other in others)]
        if rng.random() < 0.4:
            clauses.pop()
    else:
        clauses = [rng.choice(OPEN[label])]
        if rng.random() < 0.6:
            clauses.append(rng.choice(SETTLED[others[0]]))
    rng.shuffle(clauses)
    matter = rng.choice(LINKS).join(_fill(rng, clause) for clause in clauses)
    text = rng.choice(OPENERS) + matter + rng.choice(CLOSERS)
    if rng.random() < 0.25:
        text = _typo(rng, text)
    style = rng.random()
    return text.lower() if style < 0.4 else text.upper() if style < 0.43 else text[:1].upper() + text[1:]


def _status(rng: random.Random, label: str, statuses: tuple[str, ...]) -> str:
    # Only {matter} is filled here; `_fill` fills the slots of the noun phrase later.
    return rng.choice(statuses).replace("{matter}", rng.choice(MATTERS[label]))


def _fill(rng: random.Random, sentence: str) -> str:
    return sentence.format(
        shop=rng.choice(SHOPS),
        person=rng.choice(PEOPLE),
        relative=rng.choice(RELATIVES),
        when=rng.choice(TIMES),
        amount=_amount(rng),
    )


def _amount(rng: random.Random) -> str:
    value = rng.choice((rng.randint(1, 99), rng.randint(100, 2500)))
    cents = rng.choice(("", "", f".{rng.randint(0, 99):02d}"))
    return rng.choice(("{} euros", "€{}", "{} EUR", "{} pounds", "${}", "{} CHF")).format(f"{value}{cents}")


def _typo(rng: random.Random, text: str) -> str:
    place = rng.randrange(1, len(text) - 1)
    kind = rng.choice(("swap", "drop", "replace"))
    if kind == "swap":
        return text[:place] + text[place + 1] + text[place] + text[place + 2 :]
    if kind == "drop":
        return text[:place] + text[place + 1 :]
    return text[:place] + rng.choice(string.ascii_lowercase) + text[place + 1 :]
