# questions.py - writes questions about Airlock, sums, follow-ups and other things, with answers.

import dates
import wordings as w
from parts import ABOUT, DATE, NOT_ADDING, OUTSIDE, PARTS, TOO_BIG
from text import Turn, dress


def about(rng):
    intent = rng.choice(list(w.ABOUT_QUESTIONS) + ["how", "how", "who", "where"])
    asks, orders = w.ABOUT_QUESTIONS[intent]
    pick = rng.randrange(len(asks) + len(orders))
    question = pick < len(asks)
    core = asks[pick] if question else orders[pick - len(asks)]
    if rng.random() < 0.5:
        core = rng.choice(w.OPENERS) + core
    if rng.random() < 0.4:
        core = core + rng.choice(w.CLOSERS)
    return Turn("about", dress(rng, core, question), ABOUT[intent], state=("about", intent))


def small_talk(rng):
    intent, words = rng.choice([("greet", w.GREETINGS), ("thanks", w.THANKS), ("bye", w.BYES),
                                ("ack", w.ACKS)])
    text = rng.choice(words)
    if rng.random() < 0.5:
        text += rng.choice(w.NAMES)
    return Turn("about", dress(rng, text, False), ABOUT[intent], state=("about", intent))


def part_phrase(rng, part):
    name = part.name if rng.random() < 0.75 else rng.choice(part.aliases)
    article = rng.choice(
        [part.article, part.article, part.article, "the", "the", "airlock's", "your"])
    if article == "airlock's" and name.startswith("airlock"):
        article = "the"
    if article == "an" and name[0] not in "aeiou":
        article = "a"
    return f"{article} {name}"


def part_question(rng, part, what):
    """Returns (text, is_question) asking `what` ("does", "where" or "talks") of the part."""
    name = part_phrase(rng, part)
    do, be = ("do", "are") if part.plural else ("does", "is")
    asks = {
        "does": [
            f"what {do} {name} do", f"what {be} {name}", f"what {be} {name} for",
            f"what {be} {name} good for", f"what is the job of {name}",
            f"what is the purpose of {name}", f"why is there {name}",
            f"what do you know about {name}", f"can you explain {name}",
            f"what {be} {name} used for", f"how {do} {name} work"
        ],
        "where": [
            f"where {do} {name} run", f"where {be} {name}", f"where {do} {name} live",
            f"where can I find {name}", f"in which place {be} {name}", f"on which side {be} {name}",
            f"{be} {name} inside or outside", f"{be} {name} in the container",
            f"{be} {name} on the host", f"{be} {name} outside the container",
            f"where do I find {name}"
        ],
        "talks": [
            f"what {do} {name} talk to", f"who {do} {name} talk to", f"what comes after {name}",
            f"what {be} {name} connected to", f"who is behind {name}", f"who {do} {name} work with"
        ],
    }[what]
    orders = {
        "does": [
            f"explain {name}", f"tell me about {name}", f"describe {name}",
            f"tell me what {name} {do}", f"explain to me what {name} {do}"
        ],
        "where":
        [f"tell me where {name} {'run' if part.plural else 'runs'}", f"tell me where {name} {be}"],
        "talks": [f"tell me what {name} {'talk' if part.plural else 'talks'} to"],
    }[what]
    pick = rng.randrange(len(asks) + len(orders))
    return (asks[pick], True) if pick < len(asks) else (orders[pick - len(asks)], False)


def parts(rng):
    part = rng.choice(PARTS)
    what = rng.choice(["does", "does", "where", "talks"])
    text, question = part_question(rng, part, what)
    if rng.random() < 0.25:
        text = rng.choice(w.OPENERS) + text
    return Turn("parts", dress(rng, text, question), part.answers[what], state=("part", part, what))


def sum_answer(a, op, b):
    return f"{a} {'plus' if op == '+' else 'minus'} {b} is {a + b if op == '+' else a - b}."


def sums(rng):
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    op = rng.choice("++-")
    if op == "-" and b > a and rng.random() < 0.6:
        a, b = b, a
    asks, orders = (w.PLUS, w.PLUS_ORDERS) if op == "+" else (w.MINUS, w.MINUS_ORDERS)
    pick = rng.randrange(len(asks) + len(orders))
    template = (asks + orders)[pick]
    words = rng.random() < 0.2
    shown = {"a": w.NUMBER_WORDS[a] if words else a, "b": w.NUMBER_WORDS[b] if words else b}
    text = template.format(**shown)
    if rng.random() < 0.15:
        text = rng.choice(w.OPENERS) + text
    result = a + b if op == "+" else a - b
    return Turn("sums",
                dress(rng, text, pick < len(asks)),
                sum_answer(a, op, b),
                state=("sum", result))


def refused_sums(rng):
    if rng.random() < 0.5:
        text = rng.choice(w.REFUSED_SUMS).format(a=rng.randint(0, 20), b=rng.randint(0, 20))
        return Turn("outside", dress(rng, text), NOT_ADDING)
    a, b = rng.choice([(rng.randint(21, 99), rng.randint(0, 99)),
                       (rng.randint(0, 99), rng.randint(21, 99)),
                       (rng.randint(100, 9999), rng.randint(0, 9999)),
                       (rng.randint(0, 999), rng.randint(100, 999))])
    text = rng.choice(w.PLUS[:9] + w.MINUS[:9]).format(a=a, b=b)
    return Turn("outside", dress(rng, text), TOO_BIG)


def invented_word(rng):
    """A word that does not exist, so that the model learns to meet unknown words."""
    return "".join(
        rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") +
        rng.choice(["", "", "n", "r", "s", "l", "t"]) for _ in range(rng.randint(2, 3)))


def outside(rng):
    roll = rng.random()
    if roll < 0.17:
        return refused_sums(rng)
    if roll < 0.23:
        text, _ = dates.phrase(rng)
        return Turn("outside", dress(rng, text, rng.random() < 0.4), DATE)
    if roll < 0.28:
        text = rng.choice(w.TOPICS + w.PLACES) if rng.random() < 0.5 else invented_word(rng)
        return Turn("outside", dress(rng, text, rng.random() < 0.5), OUTSIDE)
    if roll < 0.36:
        return Turn("outside", dress(rng, rng.choice(w.PLAIN), rng.random() < 0.6), OUTSIDE)
    question = rng.random() < 0.7
    if roll < 0.46:
        text = rng.choice(w.ABOUT_PLACE).format(
            t=rng.choice(w.PLACES) if rng.random() < 0.7 else invented_word(rng))
        question = True
    else:
        topic = rng.choice(w.TOPICS) if rng.random() < 0.65 else invented_word(rng)
        text = rng.choice(w.ABOUT_TOPIC if question else w.TOPIC_ORDERS).format(t=topic)
    if rng.random() < 0.2:
        text = rng.choice(w.OPENERS) + text
    return Turn("outside", dress(rng, text, question), OUTSIDE)


def echo(rng, phrases):
    """Copying a phrase teaches the embeddings of words that only the adapters use."""
    phrase = rng.choice(phrases)(rng)
    return Turn("echo", rng.choice(w.ECHO).format(t=phrase), phrase)


def follow_up(rng, before):
    """A question that only makes sense after `before`, or None when nothing can follow it."""
    state = before.state
    if state is None:
        return None
    after = before.question
    if state[0] == "sum":
        result, number = state[1], rng.randint(1, 10)
        if result < 0 or result > 40:
            return None
        op = rng.choice("+-")
        if op == "-" and number > result:
            op = "+"
        text = rng.choice(w.MORE_PLUS if op == "+" else w.MORE_MINUS).format(b=number)
        return Turn("followup", dress(rng, text), sum_answer(result, op, number), after,
                    ("sum", result + number if op == "+" else result - number))
    if state[0] == "part":
        part, what = state[1], state[2]
        if rng.random() < 0.6:
            what = rng.choice([other for other in ("does", "where", "talks") if other != what])
            words = {
                "do": "do" if part.plural else "does",
                "be": "are" if part.plural else "is",
                "it": "they" if part.plural else "it"
            }
            text = rng.choice(w.MORE[what]).format(**words)
        else:
            part = rng.choice([p for p in PARTS if p is not part])
            text = rng.choice(w.ANOTHER).format(t=part_phrase(rng, part))
        return Turn("followup", dress(rng, text), part.answers[what], after, ("part", part, what))
    if state[1] in ("where", "way", "network", "airlock"):
        return Turn("followup", dress(rng, rng.choice(w.WHY)), ABOUT["why"], after, None)
    return None
