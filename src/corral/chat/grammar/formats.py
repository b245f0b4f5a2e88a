"""The named formats of JSON Schema as grammars of the text between the quotes."""

from __future__ import annotations

# Every day that exists: 31 and 30 days, February, and its 29th in leap years. Year 0000 is none in Python.
_LEAP = '("0" [48] | [2468] [048] | [13579] [26])'
_YEAR = '("0" "0" "0" [1-9] | "0" "0" [1-9] [0-9] | "0" [1-9] [0-9]{2} | [1-9] [0-9]{3})'
_LEAP_YEAR = f'([0-9]{{2}} {_LEAP} | {_LEAP} "00")'
_DAY_28 = '("0" [1-9] | "1" [0-9] | "2" [0-8])'
_DAY_30 = '("0" [1-9] | [12] [0-9] | "30")'
_DAY_31 = '("0" [1-9] | [12] [0-9] | "3" [01])'
_DATE = (
    f'({_YEAR} "-" (("0" [13578] | "1" [02]) "-" {_DAY_31} | ("0" [469] | "11") "-" {_DAY_30} | "02-" {_DAY_28})'
    f' | {_LEAP_YEAR} "-02-29")'
)
_TIME = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})? '
    '("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_HEX = "[0-9a-fA-F]"
_OCTET = '([0-9] | [1-9] [0-9] | "1" [0-9]{2} | "2" [0-4] [0-9] | "25" [0-5])'
_IPV4 = f'{_OCTET} "." {_OCTET} "." {_OCTET} "." {_OCTET}'
_LABEL = "[a-zA-Z0-9] ([a-zA-Z0-9-]{0,40} [a-zA-Z0-9])?"
_HOST = f'{_LABEL} ("." {_LABEL}){{0,5}}'
_ATOM = "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,32}".replace("^", "\\x5E").replace("~-]", "~\\x2D]")
_GROUP = f"{_HEX}{{1,4}}"


def _ipv6() -> str:
    """Eight groups, or fewer with one `::` in their place."""
    whole = f'({_GROUP} ":"){{7}} {_GROUP}'
    shortened = []
    for before in range(8):
        head = f'{_GROUP} (":" {_GROUP}){{{before - 1}}} ' if before > 1 else f"{_GROUP} " if before else ""
        after = 7 - before
        tail = f' ({_GROUP} (":" {_GROUP}){{0,{after - 1}}})?' if after else ""
        shortened.append(f'{head}"::"{tail}')
    return "(" + " | ".join([whole, *shortened]) + ")"


_URI_CHAR = "[a-zA-Z0-9._~!$&'()*+,;=:@%-]".replace("%-]", "\\x2D]")
_URI = (
    f'("http" "s"? | "ftp") "://" {_HOST} (":" [1-9] [0-9]{{0,3}})? ("/" {_URI_CHAR}{{0,64}}){{0,12}}'
    f' ("?" ({_URI_CHAR} | [/?]){{1,128}})? ("#" ({_URI_CHAR} | [/?]){{0,64}})?'
)
_DURATION = (
    '"P" ([0-9]{1,4} "W" | [0-9]{1,4} "D" ("T" [0-9]{1,4} ("H" ([0-9]{1,4} "M" ([0-9]{1,4} "S")?)? | "M" '
    '([0-9]{1,4} "S")? | "S"))? | "T" [0-9]{1,4} ("H" ([0-9]{1,4} "M" ([0-9]{1,4} "S")?)? | "M" ([0-9]{1,4} "S")? '
    '| "S"))'
)

FORMATS: dict[str, str] = {
    "date": _DATE,
    "time": _TIME,
    "date-time": f'{_DATE} "T" {_TIME}',
    "duration": _DURATION,
    "uuid": f'{_HEX}{{8}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{4}} "-" {_HEX}{{12}}',
    "email": f'{_ATOM} ("." {_ATOM}){{0,3}} "@" ({_LABEL} "."){{1,4}} [a-zA-Z]{{2,12}}',
    "ipv4": _IPV4,
    "ipv6": _ipv6(),
    "hostname": _HOST,
    "uri": _URI,
}
