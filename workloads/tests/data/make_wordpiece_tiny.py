"""Writes wordpiece_tiny.json: a small tokenizer.json of the kind that BERT's English models have, and the ids
that Hugging Face's tokenizers gives to texts with everything that is special about it.

    pip install tokenizers
    python make_wordpiece_tiny.py
"""

import json

import tokenizers
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = ["un", "##aff", "##able", "film", "##s", "##ed", "the", "a", "cafe", "##e", "e", "naive", "i", "##̇", "ss"]
PIECES += ["!", "?", ".", ",", "'", "\"", "-", "[", "]", "$", "…", "“", "”", "—", "日", "本", "strasse", "##x", "x", "br", "/", "<", ">"]
vocabulary = {piece: at for at, piece in enumerate(SPECIAL + PIECES)}

TEXTS = [
    "",
    "   \t\n ",
    "The UNAFFABLE films, filmed!",
    "unaffably",
    "Café NAÏVE cafe\u0301 İ i̇",
    "it's a \"film\" -- [the] $e… “a”—e",
    "日本 film日本",
    "<br /><br />The film",
    "a\u00a0the\u2028e\u3000film\u0085film",
    "fi\u00adlm \u200bfilm\ufeff \u0000film\ufffd fi\u0007lm",
    "[CLS] the [MASK] film[SEP]a [mask] [UNK]",
    "x" * 100,
    "x" * 101,
    "ß strasse ss ẞ",
    "film\u0327\u0301s 𝐟ilm ＦＩＬＭ",
]

tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
tokenizer.normalizer = BertNormalizer()
tokenizer.pre_tokenizer = BertPreTokenizer()
tokenizer.post_processor = TemplateProcessing(
    single="[CLS] $A [SEP]",
    pair="[CLS] $A [SEP] $B:1 [SEP]:1",
    special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
)
tokenizer.add_special_tokens(SPECIAL)
cases = [{"text": text, "ids": tokenizer.encode(text).ids} for text in TEXTS]
reference = {
    "tokenizers": tokenizers.__version__,
    "tokenizer": json.loads(tokenizer.to_str()),
    "cases": cases,
}
with open("wordpiece_tiny.json", "w") as file:
    json.dump(reference, file, indent=1)
    file.write("\n")
