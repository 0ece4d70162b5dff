"""Writes the small files of the speech tests: speech_pieces.model, a SentencePiece model as AlgoPerf's
LibriSpeech workloads have one, speech_tone.flac, half a second in the format of LibriSpeech's audio,
and speech_tone_8k.flac, the same at another rate. Prints the tokens that the test compares with. Used
with sentencepiece 0.2.3, soundfile 0.14.0 and numpy 2.4.6.

    python make_speech_tiny.py .
"""

import io
import sys

import numpy as np
import sentencepiece
import soundfile
from sentencepiece import sentencepiece_model_pb2

SENTENCES = """
THE RIDER LEADS BY A WHEEL AND THE OTHERS FOLLOW
A LAP OF THE TRACK TAKES FIFTEEN SECONDS
THE BELL RINGS FOR THE LAST LAP OF THE RACE
THE OTHERS DO NOT FOLLOW THE LEADER OF THE RACE
IT'S THE RIDER WHO WAITS THAT LOSES THE WHEEL
THE TRACK IS WET AND THE RACE IS LATE
TAKE THE LAST WHEEL AND WAIT FOR THE BELL
"""
TEXTS = ["THE RIDER WAITS", "  THE  LAST LAP ", "IT'S", "Z", "A QUIZ 12 B", "", "FOLLOW THE LEADER"]


def main(folder):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES.split("\n")), model_writer=out, vocab_size=48,
        model_type="unigram", character_coverage=1.0, num_threads=1,
    )
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(out.getvalue())
    # Most of a model file is its table of Unicode normalisation.
    model.normalizer_spec.precompiled_charsmap = b""
    with open(f"{folder}/speech_pieces.model", "wb") as file:
        file.write(model.SerializeToString())
    pieces = sentencepiece.SentencePieceProcessor(model_file=f"{folder}/speech_pieces.model")
    for text in TEXTS:
        tokens = pieces.encode(text, add_eos=True)
        print(f"({text!r}, {tokens}, {pieces.decode(tokens)!r})")
    tone = np.array([round(6000 * np.sin(0.1 * i) + 3000 * np.sin(0.37 * i)) for i in range(8000)])
    soundfile.write(f"{folder}/speech_tone.flac", tone.astype(np.int16), 16000)
    soundfile.write(f"{folder}/speech_tone_8k.flac", tone.astype(np.int16)[:2000], 8000)


if __name__ == "__main__":
    main(*sys.argv[1:])
