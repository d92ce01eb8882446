"""Texts in many scripts for the tokenizers' golden data: made up from words and ranges of code points, always alike."""

import unicodedata

WORDS = {
    "english": """the of and to in a is that it was for on are with as his they be at one have this from or had by hot word
        but what some we can out other were all there when up use your how said an each she which do their time if will
        way about many then them write would like so these her long make thing see him two has look more day could go
        come did number sound no most people my over know water than call first who may down side been now find any new
        work part take get place made live where after back little only round man year came show every good me give our
        under name very through just form sentence great think say help low line differ turn cause much mean before move
        right boy old too same tell does set three want air well also play small end put home read hand port large spell
        add even land here must big high such follow act why ask men change went light kind off need house picture try
        us again animal point mother world near build self earth father attention transformer tokenizer unbelievable
        antidisestablishmentarianism don't can't it's we'll I'm you've they'd rock'n'roll state-of-the-art e.g. U.S.A.""",
    "latin": """naïve café résumé Zürich façade jalapeño smörgåsbord Ångström crème brûlée Straße GROẞ Müßiggang über
        Übermäßigkeit señor niño coração São João açúcar œuvre Œdipe cœur encyclopædia Þórr Ísland þjóð ævintýri Łódź
        żółw gęś źdźbło Příliš žluťoučký kůň úpěl ďábelské ódy İstanbul ıspanak Iğdır ISPANAK istiyorum çalışıyor şeker
        Việt Nam tiếng Nguyễn đường phở quốc ngữ được Ελλάς ﬁnance oﬃce ﬂuﬀy ﬅyle ĳsland ŀl ŉ ǆ ǅ Ǆ ǉubav ẛ ſtrange""",
    "greek": """Ελλάδα ΌΣΟΣ ὅσος ΣΊΣΥΦΟΣ λόγος Ὀδυσσεύς ᾠδή ἀρχῇ ἦν ὁ Λόγος καὶ πρὸς τὸν Θεόν άνθρωπος ήλιος θάλασσα
        ΑΣ. ΤΟΥΣ ΰ ΐ ᾼ ᾳ ῼ ﬃ μ µ Ω Ω ϑ θ ϰ ς σ""",
    "cyrillic": """привет мир Москва ёлка ЁЖИК й Й внимание трансформер Україна їжак ґанок Београд љубав њива џеп
        Чайковский съешь ещё этих мягких французских булок Ѣ ѳ Ѵ қазақ ө ү монгол""",
    "hebrew": "שלום עולם בְּרֵאשִׁית בָּרָא אֱלֹהִים ירושלים תשע״ה ג׳ירפה לְךָ־לְךָ ﬡ שּׁ",
    "arabic": """السلام عليكم مَرْحَبًا بِالعَالَمِ اَللّٰهُ القرآن كِتَابٌ ﷲ ﷺ ﻻ لا سلام می‌خواهم کتاب‌ها ۱۲۳ ٤٥٦ پاکستان اُردُو ہے۔
        ٱلرَّحْمَـٰنِ سَنَةٌ،؟ ئۇيغۇرچە""",
    "indic": """नमस्ते दुनिया क्षेत्र संस्कृतम् हिन्दी श्री ज़िंदगी क़लम ०१२३ অসমীয়া বাংলা ভাষা কৃষ্ণচূড়া ড় ড় তমিழ் தமிழ் வணக்கம் ஸ்ரீ
        ௧௨ తెలుగు ಕನ್ನಡ മലയാളം ക്ഷ ગુજરાતી ਪੰਜਾਬੀ ଓଡ଼ିଆ සිංහල ක්‍ෂ""",
    "southeast": """สวัสดีชาวโลก ภาษาไทย น้ำ กำลัง ๑๒๓ ພາສາລາວ ສະບາຍດີ ភាសាខ្មែរ សួស្តី ព្រះ ១២៣ မြန်မာဘာသာ ကျေးဇူး བོད་སྐད་ བཀྲ་ཤིས་བདེ་ལེགས།
        ཨོཾ་མ་ཎི་པདྨེ་ཧཱུྃ Tiếng""",
    "korean": "안녕하세요 세계 한국어 토크나이저 각 각 한글 ㄱㄴㄷ ㅏㅑ ᄀᆞᇫ 뷁 ｶﾞ 값 닭",
    "japanese": """こんにちは 世界 日本語 トークナイザー が か゛ ガ カﾞ ﾊﾟﾋﾟ ｱｲｳｴｵ 東京都 ㍿ ㌔ ㍑ 々 ヾ 〆切 ゔ １２３ ＡＢＣ ｈｅｌｌｏ 「引用」、。 ～ 〜""",
    "chinese": """你好 世界 注意力 機制 變換器 中文分詞 汉字 漢字 𠀀𠀁 𪛖 𠮷野家 㐀㐁 豈更車 﨑 䶵 〇 ，。！？；：“”‘’（）《》 ２０２６年１１月""",
    "other": """საქართველო ᲡᲐᲥᲐᲠᲗᲕᲔᲚᲝ ქართული ሰላም ኢትዮጵያ አማርኛ ፩፪ Հայաստան և ﬓ ᏣᎳᎩ ꮳꮃꭹ ᐃᓄᒃᑎᑐᑦ ᚠᚢᚦ ⵜⴰⵎⴰⵣⵉⵖⵜ ߒߞߏ 𐌰𐌱 𐐀𐐨 𝔘𝔫𝔦𝔠𝔬𝔡𝔢
        𝟘𝟙 ⅷ Ⅻ ↁ ① ⑳ ⒜ ² ³ ₄ ⁿ ™ ℡ № ½ ⅓ ㎏ ㏑ ℃ Å K ﬆ ﹏ ︵ ︶ ⸻ ‼ ⁇ … ‥ － ＿ ｀ ´ ¨ ¸ ᾽ ῾""",
    "emoji": """😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪 🇯🇵🇰🇷 1️⃣ #️⃣ *⃣ ❤️ ❤ ☺︎ 👩🏿‍🚀 🧑‍🤝‍🧑 🏴󠁧󠁢󠁥󠁮󠁧󠁿 🫠 🤷🏼‍♀️ ✊🏻 🐈‍⬛ ©️ ‼️ 🅰️ 🈂️ 🀄 ⌚ ␀ ▁ ▁▁ Ġ Ċ Ã © â€™ ā""",
    "code": """int main(void) { return 0; } for(i=0;i<10;++i) x->y==z&&!w; def f(x): return x**2 #include <stdio.h> {"a":[1,2.5e-3,null]}
        https://example.org/a/b?c=d&e=%20#frag user.name+tag@example.co.uk C:\\\\Windows\\\\system32 /usr/local/bin 192.168.0.1
        2001:db8::1 0xDEADBEEF 3.14159 1,234,567.89 1/2 50% $9.99 €5 £3 ¥100 +49-30-123456 2026-11-25T22:08:43Z v1.2.3-rc.1
        snake_case camelCase PascalCase SCREAMING_CASE kebab-case <div class="x">&amp;</div> -- /* */ // ``quoted'' ... --- !!!
        ''' \"\"\" ~~~ === $$ ^^ @@ ## ## \\\\n""",
}
SPECIAL = ["[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<mask>", "<unk>", "<pad>", "<|endoftext|>",
           "<|begin_of_text|>", "<|im_start|>", "<extra_id_0>", "<extra_id_99>", "<bos>", "<eos>", "<0x41>", "<0x0A>",
           "<|user|>", "<tag>", "[ent]", "<CLS>", "[cls]", "< s >", "<|startoftext|>", "Ünïcode", "New York"]
SPACES = [" ", "  ", "   ", "\u00a0", "\t", "\n", "\r\n", "\u3000", "\u2009", "\u200a", "\u2028", "\u2029", "\u205f",
          "\u1680", "\u0085", "\x0b", "\x0c", "\u200b", "\u202f", "\n\n", " \n", "\t\t", "\u180e", "\u2003", "\x1c"]
CONTROLS = ["\x00", "\x01", "\x07", "\x08", "\x1b", "\x7f", "\x80", "\x9f", "\u200c", "\u200d", "\u200e", "\u200f",
            "\u202a", "\u202e", "\u202c", "\u2066", "\u2069", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\ue000",
            "\uf8ff", "\U000f0000", "\U0010ffff", "\U0001fffe", "\u00ad", "\u034f", "\u061c", "\u2060", "\u2061",
            "\ufdd0", "\U000e0001", "\u115f", "\u3164", "\ufff9", "\ufffb", "\ufe0f", "\ufe0e", "\U000e0100", "\u2800"]
MARKS = [chr(c) for c in (*range(0x300, 0x370), 0x20DD, 0x20E3, 0x5B0, 0x5BC, 0x64B, 0x651, 0x670, 0x93C, 0x94D, 0xE31,
                          0xE38, 0xF71, 0xF74, 0x3099, 0x309A, 0x1AB0, 0x1DC0, 0xFE20, 0x1D165, 0x1D16D, 0x345)]
RANGES = [(0x20, 0x7F), (0xA0, 0x250), (0x250, 0x2B0), (0x2B0, 0x370), (0x370, 0x400), (0x400, 0x530), (0x530, 0x590),
          (0x590, 0x600), (0x600, 0x700), (0x700, 0x7C0), (0x900, 0x980), (0x980, 0xA00), (0xA00, 0xB80), (0xB80, 0xC00),
          (0xC00, 0xE00), (0xE00, 0xE80), (0xE80, 0xF00), (0xF00, 0x1000), (0x1000, 0x10A0), (0x10A0, 0x1100),
          (0x1100, 0x1200), (0x1200, 0x13A0), (0x13A0, 0x1400), (0x1780, 0x1800), (0x1800, 0x18B0), (0x1C80, 0x1CC0),
          (0x1D00, 0x1DC0), (0x1E00, 0x1F00), (0x1F00, 0x2000), (0x2000, 0x2070), (0x2070, 0x20D0), (0x2100, 0x2190),
          (0x2190, 0x2300), (0x2460, 0x2500), (0x2500, 0x2700), (0x2700, 0x27C0), (0x2C00, 0x2E80), (0x3000, 0x3040),
          (0x3040, 0x3100), (0x3100, 0x3200), (0x3200, 0x3400), (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xA000, 0xA500),
          (0xA640, 0xA800), (0xAB30, 0xABC0), (0xAC00, 0xD7B0), (0xF900, 0xFB00), (0xFB00, 0xFB50), (0xFB50, 0xFE00),
          (0xFE30, 0xFE70), (0xFE70, 0xFF00), (0xFF00, 0xFFF0), (0x10000, 0x10100), (0x10280, 0x10400),
          (0x10400, 0x10450), (0x1D100, 0x1D200), (0x1D400, 0x1D800), (0x1E900, 0x1E960), (0x1F100, 0x1F200),
          (0x1F300, 0x1F650), (0x1F680, 0x1F800), (0x1F900, 0x1FA00), (0x20000, 0x2A6E0), (0x2F800, 0x2FA20)]
PUNCTUATION = list(".,;:!?-–—'\"()[]{}<>/\\|@#$%^&*_+=~`«»„“”‘’¿¡§•·…。、！？「」،؟।॥")
HANDMADE = [
    "The cat sat on the mat.", "Hello, world! Ünïcödé ñandú", "", " ", "   leading and trailing   ", "a", "\n", "\x00",
    "don't stop [MASK] me <mask> now </s> please", "日本語のテキスト、漢字と仮名。", "مَرْحَبًا بِالعَالَمِ", "नमस्ते दुनिया",
    "👨‍👩‍👧‍👦 family 🏳️‍🌈 flag 🇩🇪", "e\u0301 \u00e9 o\u0308 \u1e9b\u0323", "İstanbul'da ıspanak IĞDIR", "ΌΣΟΣ ὅσος ΣΊΣΥΦΟΣ.",
    "GROẞ groß ﬁnance oﬃce", "１２３ ＡＢＣ ㍿ ①②③ Ⅻ ½", "Z" + "\u0335\u0322\u0321\u0316" * 6 + "algo", "a\u200bb\u200cc\u200dd\ufeffe",
    "tab\there\r\nnew\u2028line\u00a0nbsp\u3000wide", "▁under ▁▁ score▁", "x" * 120, "ab " * 60, "0123456789" * 9,
    "\u0000\u0001\u007f\u0080\u009f\ufffd\ufffe\uffff\U0010ffff", "שָׁלוֹם עֲלֵיכֶם abc 123", "각 각 값", "<s>hello</s><pad>",
    "<|endoftext|> text <|endoftext|>", "C:\\Users\\x\\n \"quoted\" 'single' `tick`", "a\u0300\u0301\u0302b", "  a  b  c  ",
    "The New York Times in New York", "lower <tag> UPPER <TAG> [ent] [ENT]", "caf\u0065\u0301 <tag>", "．。，、", "ﷺ ﷲ",
    "\u1100\u1161\u11a8\u11a8", "\U0001d165\U0001d16e \U0001d15f", "\u0344 \u0958 \u2126 \u212b \u1fef", "\ufb2c\ufb49",
]


class Random:
    """splitmix64, as for the other golden inputs, so that no version of a library changes a text."""

    def __init__(self, seed):
        self.state = seed

    def next(self):
        self.state = (self.state + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        return z ^ (z >> 31)

    def below(self, n):
        return self.next() % n

    def pick(self, items):
        return items[self.below(len(items))]

    def chance(self, one_in):
        return self.below(one_in) == 0


LISTS = {name: words.split() for name, words in WORDS.items()}
SCRIPTS = list(LISTS)


def words_line(r, script):
    """Words of a script with punctuation, some of another, cases and normal forms changed now and then."""
    words = []
    for _ in range(1 + r.below(11)):
        word = r.pick(LISTS[r.pick(SCRIPTS) if r.chance(9) else script])
        kind = r.below(24)
        if kind == 0:
            word = unicodedata.normalize("NFD", word)
        elif kind == 1:
            word = unicodedata.normalize("NFC", word)
        elif kind == 2:
            word = word.upper()
        elif kind == 3:
            word = word.capitalize()
        elif kind == 4:
            word += r.pick(PUNCTUATION)
        elif kind == 5:
            word = r.pick(PUNCTUATION) + word + r.pick(PUNCTUATION)
        elif kind == 6:
            word += str(r.below(100000))
        words.append(word)
    separator = "" if script in ("chinese", "japanese", "southeast") and not r.chance(3) else " "
    return separator.join(words)


def range_line(r):
    """Code points of two or three ranges, in runs."""
    ranges = [r.pick(RANGES) for _ in range(1 + r.below(3))]
    text = ""
    for _ in range(1 + r.below(4)):
        low, high = r.pick(ranges)
        text += "".join(chr(low + r.below(high - low)) for _ in range(1 + r.below(8))) + r.pick(["", " ", " ", "\u00a0"])
    return text


def marks_line(r):
    base = [r.pick(list("aeiouAEIOUnszcg ")) for _ in range(1 + r.below(8))]
    return "".join(b + "".join(r.pick(MARKS) for _ in range(r.below(5))) for b in base)


def spaces_line(r):
    return "".join(r.pick(SPACES) + (r.pick(LISTS[r.pick(SCRIPTS)]) if r.below(3) else "") for _ in range(1 + r.below(9)))


def controls_line(r):
    return "".join(r.pick(LISTS["english"]) + r.pick(CONTROLS) + r.pick(["", " "]) for _ in range(1 + r.below(7)))


def special_line(r):
    parts = [r.pick(SPECIAL) if r.below(2) else r.pick(LISTS[r.pick(SCRIPTS)]) for _ in range(1 + r.below(8))]
    return "".join(p + r.pick(["", " ", "  ", "\n", "▁"]) for p in parts)


def long_line(r):
    kind = r.below(5)
    if kind == 0:
        return r.pick(LISTS["english"]) * (10 + r.below(30))
    if kind == 1:
        return " " * (1 + r.below(60)) + r.pick(LISTS[r.pick(SCRIPTS)])
    if kind == 2:
        return "".join(r.pick("abcdefghijklmnopqrstuvwxyz") for _ in range(60 + r.below(100)))
    if kind == 3:
        return str(r.next()) * (1 + r.below(6))
    return " ".join(words_line(r, r.pick(SCRIPTS)) for _ in range(4))


def word_soup(r):
    """Letters that hold together as a word, from parts of words, which sub-word vocabularies know in part."""
    return " ".join("".join(r.pick(LISTS["english"])[: 1 + r.below(4)] for _ in range(1 + r.below(4)))
                    for _ in range(1 + r.below(8)))


def texts(count=20480, seed=20261125):
    """`count` texts; the first ones are written by hand."""
    r = Random(seed)
    lines = list(HANDMADE)
    rare = [range_line, marks_line, spaces_line, controls_line, special_line, long_line, word_soup]
    while len(lines) < count:
        if r.below(20) < 11:
            lines.append(words_line(r, r.pick(SCRIPTS)))
        else:
            lines.append(rare[(0, 0, 0, 1, 2, 3, 4, 4, 5, 6)[r.below(10)]](r))
    return lines[:count]
