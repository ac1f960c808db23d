"""Tokenizers of every kind, trained on a few made-up sentences."""

import itertools
import json

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    BertTokenizer,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    RobertaTokenizer,
    T5Tokenizer,
    XLMRobertaTokenizer,
)

from compress.data.texts.encode import TextPreprocessor

_SUBJECTS = ("the painter", "a lonely fisherman", "my neighbour", "every translator", "nobody")
_VERBS = ("repainted", "was mending", "overlooked", "translates", "remembers")
_OBJECTS = ("the harbour wall", "unreadable letters", "ünïcode façades", "27 boats", "rain, again")
SENTENCES = [" ".join(parts) + "." for parts in itertools.product(_SUBJECTS, _VERBS, _OBJECTS)]
USED = SENTENCES[::9]
"""A part of them: what a task's data would be."""
_SYLLABLES = (("tor", "vel", "gim", "pla"), ("en", "ost", "ub"), ("dar", "lybe", "mish", "quo"))
_OTHER = [f"{''.join(parts)} {parts[0]}{parts[2]}" for parts in itertools.product(*_SYLLABLES)]
UNKNOWN = "[UNK]"
STRANGE = [
    "",
    "  ",
    "Zürich 東京 🙂",
    "\x00\x7f\ufffd",
    "ZZZ qqq",
    "a" * 200,
    "نص عربي",
    "xylophone",
]
"""Texts that nothing was trained on."""
SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]


def _trained(backend, trainer):
    backend.train_from_iterator([*SENTENCES, *_OTHER], trainer)
    return backend


def _fast(backend, **names):
    given = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=64,
        model_input_names=["input_ids", "attention_mask"],
        **(given | names),
    )


def wordpiece():
    backend = Tokenizer(models.WordPiece(unk_token=UNKNOWN))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused0]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]"]
    _trained(backend, trainers.WordPieceTrainer(vocab_size=400, special_tokens=special))
    vocab = json.loads(backend.to_str())["model"]["vocab"]
    return BertTokenizer(vocab=vocab, model_max_length=64)


def byte_level():
    """As GPT-2's and RoBERTa's are."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    _trained(
        backend,
        trainers.BpeTrainer(vocab_size=500, special_tokens=SPECIAL, initial_alphabet=alphabet),
    )
    backend.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 1))
    return _fast(backend)


def ignores_merges():
    """As Llama 3's: words that are tokens are taken whole, also where no merge makes them."""
    tokenizer = byte_level()
    values = json.loads(tokenizer.backend_tokenizer.to_str())
    values["model"]["ignore_merges"] = True
    values["model"]["merges"] = [
        pair for pair in values["model"]["merges"] if "".join(pair) != "Ġharbour"
    ]
    assert "Ġharbour" in values["model"]["vocab"]
    return _fast(Tokenizer.from_str(json.dumps(values)))


def byte_fallback():
    """As Llama's and Mistral's."""
    backend = Tokenizer(models.BPE(unk_token=SPECIAL[0], fuse_unk=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    named = [f"<0x{value:02X}>" for value in range(256)]
    _trained(backend, trainers.BpeTrainer(vocab_size=600, special_tokens=[*SPECIAL, *named]))
    values = json.loads(backend.to_str())
    values["model"]["byte_fallback"] = True
    values["added_tokens"] = [one for one in values["added_tokens"] if one["content"] in SPECIAL]
    values["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
        ],
        "pair": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"Sequence": {"id": "B", "type_id": 1}},
        ],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    return _fast(Tokenizer.from_str(json.dumps(values)))


def ends_of_words():
    """As CLIP's: a word's last token says so."""
    backend = Tokenizer(models.BPE(unk_token=SPECIAL[0], end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    _trained(
        backend,
        trainers.BpeTrainer(
            vocab_size=400, special_tokens=SPECIAL, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    tokenizer = _fast(backend)
    tokenizer.add_tokens(["<shop>"])  # one that the model itself doesn't know
    return tokenizer


def unigram():
    """As T5's, XLM-R's and DeBERTa's."""
    backend = Tokenizer(models.Unigram())
    backend.normalizer = normalizers.NFKC()
    backend.pre_tokenizer = pre_tokenizers.Metaspace()
    backend.decoder = decoders.Metaspace()
    _trained(
        backend,
        trainers.UnigramTrainer(vocab_size=260, special_tokens=SPECIAL, unk_token=SPECIAL[0]),
    )
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return _fast(backend)


def _pieces(make):
    """A trained tokenizer's model, whose special tokens a class of transformers brings itself."""
    model = json.loads(make().backend_tokenizer.to_str())["model"]
    if model["type"] == "BPE":
        return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}
    return {"vocab": [(piece, score) for piece, score in model["vocab"] if piece not in SPECIAL]}


def t5():
    own = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    sentinels = [(f"<extra_id_{number}>", 0.0) for number in range(9, -1, -1)]
    vocab = [*own, *_pieces(unigram)["vocab"], *sentinels]
    return T5Tokenizer(vocab=vocab, extra_ids=10, model_max_length=64)


def xlm_roberta():
    own = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    vocab = [*own, *_pieces(unigram)["vocab"], ("<mask>", 0.0)]
    return XLMRobertaTokenizer(vocab=vocab, model_max_length=64)


def roberta():
    return RobertaTokenizer(**_pieces(byte_level), model_max_length=64)


def llama():
    """It pads on the left by itself; text generation pads on the right."""
    tokenizer = LlamaTokenizer(**_pieces(byte_fallback), model_max_length=64)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "right"
    return tokenizer


KINDS = {
    "wordpiece": wordpiece,
    "byte-level": byte_level,
    "ignores merges": ignores_merges,
    "byte fallback": byte_fallback,
    "ends of words": ends_of_words,
    "unigram": unigram,
    "T5": t5,
    "XLM-R": xlm_roberta,
    "RoBERTa": roberta,
    "Llama": llama,
}


def preprocessor(kind):
    return TextPreprocessor(KINDS[kind](), 32)
