# dates.py - writes plain English dates and times with their expressions in the DSL of DATES.md.

import re

DAYS = [("monday", "MON"), ("tuesday", "TUE"), ("wednesday", "WED"), ("thursday", "THU"),
        ("friday", "FRI"), ("saturday", "SAT"), ("sunday", "SUN")]
MONTHS = [("january", "JAN", 31), ("february", "FEB", 29), ("march", "MAR", 31),
          ("april", "APR", 30), ("may", "MAY", 31), ("june", "JUN", 30), ("july", "JUL", 31),
          ("august", "AUG", 31), ("september", "SEP", 30), ("october", "OCT", 31),
          ("november", "NOV", 30), ("december", "DEC", 31)]
WORDS = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
    "twelve"
]
UNITS = [("day", "D", 30), ("week", "W", 12), ("month", "M", 12), ("year", "Y", 10)]
CLOCK_UNITS = [("hour", "H", 24), ("minute", "MIN", 60)]

# The whole language; DATES.md has it as EBNF. Every expression that is written here must match.
MONTH = r"(JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)"
DATE = r"(TODAY|TOMORROW|YESTERDAY" \
       r"|(THIS|NEXT|LAST)\((MON|TUE|WED|THU|FRI|SAT|SUN|WEEK|MONTH|YEAR)\)" \
       rf"|DATE\({MONTH} ([1-9]|[12]\d|3[01])\))( [+-] [1-9]\d? [DWMY])?"
TIME = r"AT ([01]\d|2[0-3]):[0-5]\d"
EXPRESSION = re.compile(rf"({DATE}( {TIME})?|{TIME}|NOW( [+-] [1-9]\d? (H|MIN))?)")


def count(rng, limit):
    """Returns (English, number) of a small count; up to twelve as a word as often as not."""
    number = rng.randint(1, limit) if rng.random() < 0.6 else rng.randint(1, min(limit, 12))
    if number <= 12 and rng.random() < 0.5:
        return WORDS[number], number
    return str(number), number


def ordinal(day):
    suffix = "th" if day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


def month_day(rng):
    name, short, length = rng.choice(MONTHS)
    day = rng.randint(1, length)
    text = rng.choice([
        f"{name} {day}", f"{name} {ordinal(day)}", f"{day} {name}", f"the {ordinal(day)} of {name}",
        f"on {name} {day}", f"on the {ordinal(day)} of {name}"
    ])
    return text, f"DATE({short} {day})"


def weekday(rng):
    name, short = rng.choice(DAYS)
    how = rng.choice(["this", "next", "last", "on", "", "the coming", "this coming"])
    text = f"{how} {name}".strip()
    return text, f"{how.upper() if how in ('this', 'next', 'last') else 'THIS'}({short})"


def anchor(rng):
    """A day that other days are counted from."""
    roll = rng.random()
    if roll < 0.45:
        return weekday(rng)
    if roll < 0.70:
        return month_day(rng)
    return rng.choice([("today", "TODAY"), ("tomorrow", "TOMORROW"), ("yesterday", "YESTERDAY")])


def shift(rng):
    name, short, limit = rng.choice(UNITS[:2] + UNITS)
    text, number = count(rng, limit)
    if number == 1 and rng.random() < 0.4:
        text = "a"
    return f"{text} {name}{'' if number == 1 else 's'}", f"{number} {short}"


def day(rng):
    """Returns (English, expression) of a day."""
    roll = rng.random()
    if roll < 0.12:
        return rng.choice([("today", "TODAY"), ("tomorrow", "TOMORROW"), ("yesterday", "YESTERDAY"),
                           ("the day after tomorrow", "TODAY + 2 D"),
                           ("the day before yesterday", "TODAY - 2 D"),
                           ("in a fortnight", "TODAY + 2 W"), ("a fortnight ago", "TODAY - 2 W")])
    if roll < 0.40:
        return weekday(rng)
    if roll < 0.58:
        return month_day(rng)
    if roll < 0.80:
        text, number = shift(rng)
        return rng.choice([(f"in {text}", f"TODAY + {number}"),
                           (f"{text} from now", f"TODAY + {number}"),
                           (f"{text} ago", f"TODAY - {number}")])
    if roll < 0.86:
        how = rng.choice(["this", "next", "last"])
        what = rng.choice(["week", "month", "year"])
        return f"{how} {what}", f"{how.upper()}({what.upper()})"
    text, number = shift(rng)
    base, expression = anchor(rng)
    base = re.sub(r"^on ", "", base)
    word, sign = rng.choice([("after", "+"), ("before", "-"), ("from", "+")])
    return f"{text} {word} {base}", f"{expression} {sign} {number}"


def clock(rng):
    """Returns (English, expression) of a time of day."""
    roll = rng.random()
    if roll < 0.16:
        return rng.choice([("noon", "AT 12:00"), ("midday", "AT 12:00"), ("midnight", "AT 00:00"),
                           ("noon", "AT 12:00")])
    if roll < 0.34:
        hour, minute = rng.randint(0, 23), rng.choice([0, 15, 30, 45, rng.randint(0, 59)])
        return f"{hour}:{minute:02d}", f"AT {hour:02d}:{minute:02d}"
    if roll < 0.42:  # no half of the day: as written, on a 24 hour clock
        hour = rng.randint(1, 12)
        said = rng.choice([str(hour), WORDS[hour]])
        return rng.choice([(f"{said} o'clock", f"AT {hour:02d}:00"), (said, f"AT {hour:02d}:00"),
                           (f"half past {said}", f"AT {hour:02d}:30"),
                           (f"quarter past {said}", f"AT {hour:02d}:15"),
                           (f"quarter to {said}", f"AT {hour - 1:02d}:45")])
    hour = rng.randint(1, 12)
    half = rng.choice([(" am", 0), (" pm", 12), ("am", 0), ("pm", 12), (" in the morning", 0),
                       (" in the evening", 12), (" in the afternoon", 12)][:4 if hour == 12 else 7])
    total = (hour % 12 + half[1]) * 60
    said = WORDS[hour] if rng.random() < 0.3 and half[0].startswith(" ") else str(hour)
    style = rng.random()
    if style < 0.45:
        text = said + (" o'clock" if half[0].startswith(" in") and rng.random() < 0.3 else "")
    elif style < 0.62:
        minute = rng.choice([5, 10, 15, 20, 30, 40, 45, 50])
        total, text = total + minute, f"{hour}:{minute:02d}"
    elif style < 0.76:
        total, text = total + 30, f"half past {said}"
    elif style < 0.88:
        total, text = total + 15, f"quarter past {said}"
    else:
        total, text = total - 15, f"quarter to {said}"
    total %= 24 * 60
    return text + half[0], f"AT {total // 60:02d}:{total % 60:02d}"


def phrase(rng):
    """Returns (English, expression)."""
    roll = rng.random()
    if roll < 0.10:
        name, short, limit = rng.choice(CLOCK_UNITS)
        text, number = count(rng, limit)
        text = f"{text} {name}{'' if number == 1 else 's'}"
        english, expression = rng.choice([(f"in {text}", f"NOW + {number} {short}"),
                                          (f"{text} ago", f"NOW - {number} {short}"),
                                          (f"{text} from now", f"NOW + {number} {short}")])
    elif roll < 0.13:
        english, expression = rng.choice([("now", "NOW"), ("right now", "NOW"),
                                          ("half an hour ago", "NOW - 30 MIN"),
                                          ("in half an hour", "NOW + 30 MIN"),
                                          ("in a quarter of an hour", "NOW + 15 MIN")])
    elif roll < 0.25:
        english, expression = clock(rng)
        english = rng.choice(["at ", "at ", ""]) + english
    elif roll < 0.55:
        english, expression = day(rng)
    else:
        (english, expression), (at, time) = day(rng), clock(rng)
        english = rng.choice([f"{english} at {at}"] * 5 +
                             [f"{english}, {at}", f"at {at} {english}", f"at {at} {english}"])
        expression = f"{expression} {time}"
    if not EXPRESSION.fullmatch(expression):
        raise ValueError(f"{expression!r} is not in the language of DATES.md")
    return english, expression
