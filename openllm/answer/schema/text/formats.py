"""What texts of a `format` look like, as regular expressions; a format that is not here is an
annotation, as JSON Schema has it.

They allow less than the standards where those allow what few readers take: no leap seconds, no
quoted local parts of addresses, no IPv6 zones.
"""

from __future__ import annotations

from collections.abc import Mapping

_YEAR = "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
_LEAP = "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = f"(?:{_YEAR}-{_DAY}|{_LEAP}-02-29)"
_HOUR = "(?:[01][0-9]|2[0-3])"
_TIME = rf"{_HOUR}:[0-5][0-9]:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_HOUR}:[0-5][0-9])"
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_WORDS = "[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_NUMBER = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
_IPV4 = rf"{_NUMBER}(?:\.{_NUMBER}){{3}}"
_H16 = "[0-9A-Fa-f]{1,4}"
_IPV6 = "|".join(
    [f"(?:{_H16}:){{7}}{_H16}", f"(?:{_H16}:){{6}}{_IPV4}"]
    + [f"(?:{_H16}:){{1,{7 - n}}}(?::{_H16}){{1,{n}}}" for n in range(1, 7)]
    + [f":(?::{_H16}){{1,7}}", f"(?:{_H16}:){{1,7}}:", "::"]
)
_ESCAPED = "%[0-9A-Fa-f]{2}"
_FIRST = f"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|{_ESCAPED})"
_PATH = f"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|{_ESCAPED})"
_TAIL = rf"(?:\?(?:{_PATH}|\?)*)?(?:#(?:{_PATH}|\?)*)?"
_HOST = f"(?:[A-Za-z0-9._~-]|{_ESCAPED})+(?::[0-9]{{1,4}})?"
_POINTER = "(?:/(?:[^~/]|~[01])*)*"
_CLOCK = "T(?:[0-9]+H(?:[0-9]+M(?:[0-9]+S)?)?|[0-9]+M(?:[0-9]+S)?|[0-9]+S)"
_DAYS = "(?:[0-9]+Y(?:[0-9]+M(?:[0-9]+D)?)?|[0-9]+M(?:[0-9]+D)?|[0-9]+D)"
_NAME = "[A-Za-z0-9_]+(?:[.][A-Za-z0-9_]+)*"

PATTERNS: Mapping[str, str] = {
    "date": f"^{_DATE}$",
    "time": f"^{_TIME}$",
    "date-time": f"^{_DATE}T{_TIME}$",
    "duration": f"^P(?:{_DAYS}(?:{_CLOCK})?|{_CLOCK}|[0-9]+W)$",
    "email": rf"^[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*"
    rf"@{_WORDS}(?:\.{_WORDS})*$",
    "hostname": rf"^{_LABEL}(?:\.{_LABEL}){{0,3}}$",
    "ipv4": f"^{_IPV4}$",
    "ipv6": f"^(?:{_IPV6})$",
    "uuid": "^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}$",
    "uri": f"^[A-Za-z][A-Za-z0-9+.-]*:(?://{_HOST}(?:/{_PATH}*)?|/?{_FIRST}{_PATH}*){_TAIL}$",
    "uri-reference": f"^(?:/(?:{_FIRST}{_PATH}*)?)?{_TAIL}$",
    "uri-template": rf"^(?:{_PATH}|\{{[+#./;?&]?{_NAME}(?:,{_NAME})*\}})*$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(?:0|[1-9][0-9]*)(?:#|{_POINTER})$",
}
