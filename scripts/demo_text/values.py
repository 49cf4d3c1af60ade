"""Values for the arguments and the results of tools: known words, and words that nobody knows, so
that only copying can be learned.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable

Draw = Callable[[random.Random], str]

CITIES = (
    "Paris", "Rome", "Oslo", "Tokyo", "Berlin", "London", "Madrid", "Lisbon", "Vienna",
    "Prague", "Cairo", "Lima", "Sydney", "Boston", "New York", "San Francisco, CA",
    "Paris, France", "Delhi", "Seoul", "Kyiv", "Athens", "Dublin", "Zurich", "Toronto",
    "Chicago, IL", "Mexico City", "Nairobi", "Munich", "Hamburg", "Warsaw", "Helsinki",
    "Beijing", "Singapore", "Buenos Aires", "Rio", "Lyon", "London, UK", "Los Angeles",
    "Seattle", "Cape Town", "Istanbul", "Amsterdam", "Brussels", "UTC", "Europe/Paris",
    "America/New_York", "Asia/Tokyo", "Europe/Berlin", "Stockholm", "Copenhagen", "Austria",
    "Ghana", "Peru", "Japan", "Canada", "Kenya", "Norway", "Brazil", "SF", "NYC", "Milan",
)  # fmt: skip
PEOPLE = (
    "Anna", "Tom", "Maria", "John", "Ada", "Grace", "Li", "Omar", "Yuki", "Carlos", "Emma",
    "Noah", "Olga", "Ravi", "Fatima", "Peter", "Alice", "Bob", "Anna Weber", "John Smith",
    "Ada Lovelace", "Dr. Brown", "Mrs. Miller", "Luca", "Ines", "Sven", "Kofi", "Mei", "Hugo",
    "Clara", "Max",
)  # fmt: skip
ITEMS = (
    "hammer", "umbrella", "laptop", "banana", "apple", "chair", "table", "lamp", "bicycle",
    "coat", "pencil", "notebook", "camera", "phone", "mug", "kettle", "screwdriver", "ladder",
    "tent", "cake", "red umbrella", "garden chair", "coffee machine", "blue shirt", "guitar",
    "ball", "book", "pizza", "bread", "cheese", "milk", "shoe", "hat", "clock", "mirror",
    "carpet", "shelf", "battery", "cable", "keyboard", "mouse", "screen", "printer", "desk",
    "sofa", "pillow", "towel", "soap", "candle",
)  # fmt: skip
WORDS = (
    "see", "you", "at", "five", "the", "red", "house", "milk", "and", "bread", "call", "me",
    "later", "happy", "birthday", "good", "morning", "buy", "eggs", "meeting", "is", "over",
    "jazz", "piano", "history", "of", "rome", "blue", "moon", "on", "time", "train", "to",
    "home", "new", "book", "we", "are", "late", "thank", "friend", "water", "plants", "how",
    "cook", "rice", "best", "pasta",
)  # fmt: skip
LANGUAGES = (
    "French", "German", "Spanish", "Italian", "Dutch", "Polish", "Greek", "Turkish", "Latin",
    "Hindi", "Japanese", "Korean", "Chinese", "Swedish", "Danish", "Finnish", "Welsh", "Czech",
    "Arabic",
)  # fmt: skip
CURRENCIES = ("EUR", "USD", "GBP", "JPY", "CHF", "INR", "SEK", "BRL", "euros", "dollars", "pounds")
DEVICES = ("lamp", "heating", "radio", "oven", "TV", "fan", "pump", "alarm", "printer", "light")
ROOMS = ("kitchen", "bedroom", "garden", "office", "bathroom", "hall", "garage")
COMMANDS = (
    "start", "build", "serve", "models", "run", "ask", "pull", "list", "show", "rm", "ps",
    "stop", "logs", "bench", "doctor", "plan", "prompt", "adapters", "inspect", "verify",
    "deploy", "chat",
)  # fmt: skip
SKIES = (
    "sunny", "cloudy", "rainy", "light rain", "snow", "fog", "clear sky", "windy",
    "a thunderstorm", "heavy rain", "partly cloudy", "hail", "clear", "overcast", "drizzle",
    "hot", "stormy", "cold",
)  # fmt: skip
STATES = (
    "shipped", "delivered", "pending", "on its way", "cancelled", "in progress", "paid", "lost",
    "waiting for payment", "delayed", "returned", "at customs", "ready", "closed", "open",
    "packed",
)  # fmt: skip
DONE = (
    "ok", "OK", "done", "sent", "success", "true", "started", "saved", "on", "off", "queued",
    "accepted", "scheduled", "switched", "confirmed",
)  # fmt: skip


def invented(rng: random.Random) -> str:
    """A word that does not exist, in lower case."""
    syllables = (
        rng.choice(("b", "c", "d", "f", "g", "h", "j", "k", "l", "m", "n", "p", "r", "s", "t", "v",
                    "w", "z", "br", "ch", "dr", "fl", "gr", "kl", "pr", "sh", "st", "th", "tr", ""))
        + rng.choice(("a", "e", "i", "o", "u", "a", "e", "o", "ai", "ee", "ou", "y"))
        + rng.choice(("", "", "", "n", "r", "l", "s", "m", "t", "nd", "ck", "x"))
        for _ in range(rng.choice((1, 2, 2, 2, 3)))
    )  # fmt: skip
    word = "".join(syllables)
    return word if len(word) > 2 else word + rng.choice(("lor", "ben", "ta", "mik"))


def digits(rng: random.Random, longest: int) -> str:
    """A whole number of up to `longest` digits."""
    return str(rng.randrange(10 ** rng.randint(1, longest)))


def decimal(rng: random.Random) -> str:
    return f"{digits(rng, 3)}.{rng.randrange(1, 100):02d}".rstrip("0")


def degrees(rng: random.Random) -> str:
    number = str(rng.randint(-20, 45))
    return number + rng.choice((" degrees", "°C", " C", "", " degrees Celsius", "°", "°F", "C"))


def weather(rng: random.Random) -> str:
    sky, warm = rng.choice(SKIES), degrees(rng)
    form = rng.choice(("{0}, {1}", "{1}, {0}", "{0} and {1}", "{1} and {0}", "{0}", "{0} with {1}"))
    return form.format(sky, warm)


def clock(rng: random.Random) -> str:
    form = rng.choice(("{:02d}:{:02d}", "{:02d}:{:02d}", "{}:{:02d} pm", "{}:{:02d}"))
    return form.format(rng.randrange(24), rng.randrange(60))


def date(rng: random.Random) -> str:
    day = f"{rng.randint(1990, 2031)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    weekday = rng.choice(("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"))
    return rng.choice((day, day, weekday, f"{weekday}, {day}"))


def price(rng: random.Random) -> str:
    amount = rng.choice((digits(rng, 3), decimal(rng)))
    return rng.choice((f"{amount} euros", f"{amount} EUR", f"${amount}", amount, f"{amount} USD"))


def code(rng: random.Random) -> str:
    """A number or a code such as A-4711."""
    letters = "".join(rng.choices(string.ascii_uppercase, k=rng.randint(1, 3)))
    number = digits(rng, 5)
    return rng.choice((number, number, number, f"{letters}-{number}", letters + number,
                       f"{invented(rng)[:4]}_{number}"))  # fmt: skip


def expression(rng: random.Random) -> str:
    sides = [digits(rng, 4) for _ in range(rng.choice((2, 2, 2, 3)))]
    text = sides[0]
    for side in sides[1:]:
        text += f" {rng.choice('+-*/')} {side}"
    return text if rng.random() < 0.7 else text.replace(" ", "")


def text(rng: random.Random) -> str:
    """Some words, known and not."""
    count = rng.choice((1, 2, 2, 3, 3, 4, 5))
    return " ".join(
        invented(rng) if rng.random() < 0.35 else rng.choice(WORDS) for _ in range(count)
    )


def phone(rng: random.Random) -> str:
    return (
        f"{rng.choice(('+49 ', '0', '+1 ', ''))}{digits(rng, 3)}{rng.choice(' -')}{digits(rng, 6)}"
    )


def email(rng: random.Random) -> str:
    return f"{invented(rng)}@{rng.choice(('example', invented(rng)))}.{rng.choice(('org', 'com'))}"


def _known_or_not(words: tuple[str, ...], share: float, *, capital: bool) -> Draw:
    def draw(rng: random.Random) -> str:
        if rng.random() < share:
            return rng.choice(words)
        word = invented(rng)
        if rng.random() < 0.15:
            word = f"{word} {invented(rng)}"
        return word.title() if capital else word

    return draw


KINDS: dict[str, Draw] = {
    "city": _known_or_not(CITIES, 0.45, capital=True),
    "person": _known_or_not(PEOPLE, 0.45, capital=True),
    "item": _known_or_not(ITEMS, 0.45, capital=False),
    "language": _known_or_not(LANGUAGES, 0.7, capital=True),
    "currency": lambda rng: rng.choice(CURRENCIES),
    "command": _known_or_not(COMMANDS, 0.75, capital=False),
    "device": lambda rng: " ".join(
        (rng.choice(ROOMS) if rng.random() < 0.7 else invented(rng), rng.choice(DEVICES))
    ),
    "symbol": lambda rng: "".join(rng.choices(string.ascii_uppercase, k=rng.randint(2, 5))),
    "number": lambda rng: digits(rng, 4),
    "id": code,
    "expression": expression,
    "text": text,
    "phrase": text,
    "weather": weather,
    "degrees": degrees,
    "clock": clock,
    "date": date,
    "price": price,
    "count": lambda rng: digits(rng, 6),
    "decimal": decimal,
    "digit": lambda rng: str(rng.randint(1, 6)),
    "length": lambda rng: digits(rng, 4) + rng.choice((" km", " miles", "", " kilometres")),
    "phone": phone,
    "email": email,
    "state": lambda rng: rng.choice(STATES),
    "done": lambda rng: rng.choice(DONE) if rng.random() < 0.7 else code(rng),
}
ANY = tuple(KINDS)


def value(rng: random.Random, kind: str) -> str:
    """A value of one of KINDS."""
    return KINDS[kind](rng)
