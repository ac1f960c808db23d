"""Small transformers models and batches, made at random."""

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertForTokenClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForTokenClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    T5Config,
    T5ForTokenClassification,
)

VOCABULARY = 50


def bert(kind=BertForSequenceClassification, *, layers=4, width=32, heads=4, seed=0, labels=3):
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        num_labels=labels,
    )
    return kind(config).eval()


def tagger(**sizes):
    return bert(BertForTokenClassification, **sizes)


def encoder(**sizes):
    return bert(BertModel, **sizes)


def llama(*, layers=2, width=32, seed=0):
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=32,
    )
    return LlamaForCausalLM(config).eval()


def gpt2(*, layers=2, width=32, seed=0):
    torch.manual_seed(seed)
    sizes = {"n_embd": width, "n_layer": layers, "n_head": 4, "n_positions": 32}
    return GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, **sizes)).eval()


def deberta(*, layers=2, width=32, seed=0):
    torch.manual_seed(seed)
    config = DebertaV2Config(
        vocab_size=VOCABULARY,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=32,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        num_labels=3,
    )
    return DebertaV2ForTokenClassification(config).eval()


def t5(*, layers=2, width=32, seed=0):
    torch.manual_seed(seed)
    sizes = {"d_model": width, "d_ff": 2 * width, "d_kv": 8, "num_layers": layers, "num_heads": 4}
    return T5ForTokenClassification(T5Config(vocab_size=VOCABULARY, num_labels=3, **sizes)).eval()


def texts(target="class", *, samples=4, length=7, padding=2, classes=3):
    """A batch whose odd samples end in padding."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(5, VOCABULARY, (samples, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1::2, length - padding :] = 0
    labels = {
        "class": torch.arange(samples) % classes,
        "class-set": torch.randint(0, 2, (samples, classes), generator=generator).float(),
        "token-class": (ids % classes).masked_fill(mask == 0, -100),
        "next-token": ids.masked_fill(mask == 0, -100),
        "none": torch.full((samples,), -100),
    }[target]
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def padded(batch, *, by):
    """The same batch with more padding at the end, in which anything may stand."""
    made = dict(batch)
    for name, fill in (("input_ids", 7), ("attention_mask", 0), ("labels", -100)):
        if batch[name].ndim == 2 and batch[name].shape == batch["input_ids"].shape:
            more = torch.full((len(batch[name]), by), fill)
            made[name] = torch.cat([batch[name], more], dim=1)
    return made
