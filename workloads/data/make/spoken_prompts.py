"""Cuts ../spoken_prompts.gz out of two Debian packages: the spoken digits, letters and phonetic
words of one English speaker.

    apt-get download asterisk-core-sounds-en asterisk-core-sounds-en-wav
    python make/spoken_prompts.py asterisk-core-sounds-en_1.6.1-1_all.deb \\
        asterisk-core-sounds-en-wav_1.6.1-1_all.deb spoken_prompts.gz

Each clip loses the silence at its ends (10 ms pieces whose root mean square is below 2 % of the
clip's loudest piece and below 30; three pieces are kept on each side) and is coded with 8 bits a
sample by the mu-law of ITU-T G.711. Texts are in lower case, without remarks in brackets and without
full stops; a dash becomes a space.

Format (little-endian): the magic "VPRM", then three u32: version (1), samples per second, clips; for
each clip, in the order of the transcript file: one byte with the length of its text, the text (UTF-8),
u32 number of samples; then the samples of all clips, one byte each.
"""

import gzip
import io
import lzma
import re
import struct
import sys
import tarfile
import wave

from common import compress, read_checked, write
from fashion_mnist import members

TEXTS = "973e797d28e37fa6ca3c0a9d6fa717e77cf1268ae916bf09fd3503113cdffa50"
SOUNDS = "2be3ea287d83299d143815fa804f11179a75b7affd4a758b98b55f5afc18a35d"
TEXT_FILE = "./usr/share/doc/asterisk-core-sounds-en/core-sounds-en.txt.gz"
SOUND_FOLDER = "./usr/share/asterisk/sounds/en_US_f_Allison/"
FOLDERS = ("digits/", "letters/", "phonetic/")
RATE, PIECE, KEEP = 8000, 80, 3


def tar_of(deb, sha256):
    data = members(read_checked(deb, sha256))["data.tar.xz"]
    return tarfile.open(fileobj=io.BytesIO(lzma.decompress(data)))


def normalise(text):
    text = re.sub(r"\[[^\]]*\]", " ", text.lower())
    text = " ".join(re.sub(r"[^a-z']", " ", text).split())
    assert text
    return text


def mu_law(x):
    """G.711: 14-bit magnitude plus bias, a 3-bit exponent and a 4-bit mantissa, all bits inverted."""
    sign = 0x80 if x < 0 else 0
    magnitude = min(abs(x), 32635) + 132
    exponent = magnitude.bit_length() - 8
    mantissa = (magnitude >> (exponent + 3)) & 15
    return ~(sign | exponent << 4 | mantissa) & 0xFF


def trim(samples):
    pieces = [samples[i : i + PIECE] for i in range(0, len(samples) - PIECE + 1, PIECE)]
    loudness = [(sum(x * x for x in piece) / PIECE) ** 0.5 for piece in pieces]
    heard = [i for i, value in enumerate(loudness) if value > max(30, 0.02 * max(loudness))]
    return samples[max(0, heard[0] - KEEP) * PIECE : (heard[-1] + 1 + KEEP) * PIECE]


def main(texts, sounds, out):
    lines = gzip.decompress(tar_of(texts, TEXTS).extractfile(TEXT_FILE).read()).decode().splitlines()
    tar = tar_of(sounds, SOUNDS)
    head, audio, count = b"", b"", 0
    for line in lines:
        name, _, text = line.partition(": ")
        if not name.startswith(FOLDERS):
            continue
        clip = wave.open(io.BytesIO(tar.extractfile(f"{SOUND_FOLDER}{name}.wav").read()))
        assert (clip.getnchannels(), clip.getsampwidth(), clip.getframerate()) == (1, 2, RATE)
        samples = trim([x for (x,) in struct.iter_unpack("<h", clip.readframes(clip.getnframes()))])
        text = normalise(text).encode()
        head += struct.pack("<B", len(text)) + text + struct.pack("<I", len(samples))
        audio += bytes(mu_law(x) for x in samples)
        count += 1
    content = b"VPRM" + struct.pack("<3I", 1, RATE, count) + head + audio
    write(out, compress(content), content)


if __name__ == "__main__":
    main(*sys.argv[1:])
