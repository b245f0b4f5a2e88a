"""Two hundred strings on which tokenizers tend to disagree."""

from __future__ import annotations

_PLAIN = """Hello world|Hello, world!|hello|HELLO WORLD|The quick brown fox jumps over the lazy dog.|a|I|.|?!
It's|I'm you're he'd we've they'll isn't|IT'S I'M YOU'RE HE'D WE'VE THEY'LL|o'clock|rock 'n' roll|'quoted' words
don't stop; won't start: can't (ever) quit|e.g. this, i.e. that|U.S.A.|Mr. Smith went to Washington, D.C.|www.example.com
https://example.com/path?query=1&other=two#fragment|user.name+tag@example.co.uk|C:\\Users\\name\\file.txt|/usr/local/bin
semi-detached|mother-in-law|state_of_the_art|camelCaseWord|PascalCaseWord|SCREAMING_SNAKE|kebab-case-word|x|xyzzy
unbelievable antidisestablishmentarianism|supercalifragilisticexpialidocious|aaaaaaaaaaaaaaaaaaaaaaaa|abababababab"""

_NUMBERS = """0|7|42|123|1234|12345|123456789|3.14159|1,234,567.89|1e10|-5|+7|50%|$100|€99.99|£5|1st 2nd 3rd|0x1F|v1.2.3
2024-02-29|12:34:56|192.168.0.1|½ ¾ ⅓|① ② ③|٣٤٥|१२३|x2y3z4|3D|4K|100km|5'11\""""

_CODE = r"""def f(x): return x + 1|for (int i = 0; i < n; ++i) { a[i] *= 2; }|print("Hello, World!")|x = {'a': [1, 2, 3]}
SELECT * FROM t WHERE id = 1;|<div class="a">text</div>|<!-- comment -->|#include <stdio.h>|fn main() -> Result<(), E> {}
a && b || !c|a == b != c <= d >= e|x => x * 2|std::vector<std::string>|foo->bar|@decorator|// comment|/* block */|#!/bin/sh
$HOME/${VAR}|`code`|**bold** _it_|[link](url)|~~x~~|# Title|- item|1. one|\n not a newline|\\ backslash|^caret|a|b
{{ template }}|{% if x %}|lambda x: x**2|x[::-1]|0b1010|1_000_000|"a" + 'b'|f"{x!r:>10}"|&amp; &lt;|%s %d|::|...|---|==="""

_WORLD = """Grüße aus München|façade naïve café|¿Qué tal? ¡Olé!|Ça va très bien|Zażółć gęślą jaźń|Příliš žluťoučký kůň
Привет, мир!|Съешь ещё этих мягких|Γειά σου Κόσμε|שלום עולם|مرحبا بالعالم|नमस्ते दुनिया|สวัสดีชาวโลก|გამარჯობა|Բարեւ
你好，世界！|我喜欢学习中文。|漢字かな交じり文|こんにちは世界|カタカナ|ひらがな|東京都|안녕하세요 세계|대한민국|Xin chào thế giới
İstanbul ıssız|straße STRASSE|ﬁne ﬂow|ＡＢＣ１２３|Ωμέγα|ñandú|Ærø Øl Å|ǆ ǅ|日本語とEnglishの混在|中文English混合123
😀|😀😃😄|👍🏽|👨‍👩‍👧‍👦|🇩🇪🇫🇷|❤️|I ❤ NY|🎉 party 🎉|☃️|✓ ✗|→ ← ↔|∑ ∫ √ ∞|≤ ≥ ≠|«quoted»|„German“|“curly” ‘single’
…|—|–|·|•|°C|©®™|§ 5|¶|№ 5|½|µm|½ cup|¡|🤖 robot|🏳️‍🌈|a😀b|é|ü|ß|ñ|中|あ|한|ก|🙂"""

_SPACES = [
    " ",
    "  ",
    "   ",
    "        ",
    "\n",
    "\n\n",
    "\n\n\n\n",
    "\t",
    "\t\t",
    "\r\n",
    " \n",
    "\n ",
    " \n \n ",
    " a",
    "a ",
    " a ",
    "  a  b  ",
    "a  b",
    "a   b    c",
    "a\nb",
    "a\n\nb",
    "a\n\n\nb",
    "a \n b",
    "a\tb",
    "\ta\tb",
    "    indented",
    "\n    indented\n        more\n",
    "if x:\n\treturn\n",
    "line one\nline two\r\nline three\n",
    "trailing   ",
    "   leading",
    "a\u00a0b",
    "a\u3000b",
    "a\u2003b",
    "a\u200bb",
    "  \n\t mixed \t\n  ",
    "x = 1  # comment\n\n\ny = 2\n",
    "word\n- item\n- item\n",
    "( a , b )",
    "a . b ! c ?",
]


def texts() -> list[str]:
    """All of them, in a fixed order and each once."""
    lines = [line for block in (_PLAIN, _NUMBERS, _CODE, _WORLD) for line in block.splitlines()]
    found = [part for line in lines for part in line.split("|") if part]
    return list(dict.fromkeys([*found, *_SPACES]))
