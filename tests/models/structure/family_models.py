"""Tiny random models of the families that are described."""

import torch
import transformers

from compress.models.source import TransformersSource
from compress.tasks.task import task

LABELS = {"num_labels": 3}
TEXT = LABELS | {"vocab_size": 40, "max_position_embeddings": 32, "pad_token_id": 0}
SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
LLM = TEXT | SMALL | {"num_key_value_heads": 2, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = LABELS | {"image_size": 16, "num_channels": 1}
DEBERTA = TEXT | SMALL | {"pos_att_type": ["c2p", "p2c"], "relative_attention": True}
DEBERTA |= {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "position_biased_input": False}
DEBERTA |= {"max_relative_positions": 16, "type_vocab_size": 0, "pooler_hidden_size": 32}
T5 = LABELS | {"vocab_size": 40, "d_model": 32, "d_kv": 6, "d_ff": 48, "num_layers": 2}
T5 |= {"num_heads": 4, "relative_attention_num_buckets": 8, "relative_attention_max_distance": 12}
GPT2 = LABELS | {"vocab_size": 40, "n_positions": 32, "n_embd": 32, "n_layer": 2, "n_head": 4}
GPT2 |= {"n_inner": 48, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
SWIN = IMAGE | {"patch_size": 2, "embed_dim": 16, "depths": [2, 1], "num_heads": [2, 4]}
SWIN |= {"window_size": 4, "mlp_ratio": 2.0}
DISTIL = LABELS | {"vocab_size": 40, "dim": 32, "hidden_dim": 48, "n_layers": 2, "n_heads": 4}

V3 = DEBERTA | {"pos_att_type": "p2c|c2p", "share_att_key": True, "max_relative_positions": -1}
"""As the published DeBERTa-v3 has them."""
MODERN = TEXT | SMALL | {"global_attn_every_n_layers": 2, "local_attention": 4, "cls_token_id": 1}
MODERN |= {"bos_token_id": 1, "eos_token_id": 2, "sep_token_id": 2}
CLIP = SMALL | {"image_size": 16, "num_channels": 1, "patch_size": 8}
CLIP_TEXT = TEXT | SMALL | {"bos_token_id": 1, "eos_token_id": 2}
BART = {"d_model": 32, "encoder_attention_heads": 4, "encoder_ffn_dim": 48, "encoder_layers": 2}
BART |= {"decoder_attention_heads": 2, "decoder_ffn_dim": 24, "decoder_layers": 1}
BART |= {"decoder_start_token_id": 2, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
WHISPER = BART | LABELS | {"vocab_size": 40, "num_mel_bins": 8, "max_source_positions": 10}
BART |= {"vocab_size": 40, "max_position_embeddings": 32}

CLASSES = "text-classification"
FEATURES = "feature-extraction"
TOKENS = "token-classification"
IMAGES = "image-classification"
NEXT = "text-generation"

MODELS = {
    "bert": ("BertForSequenceClassification", TEXT | SMALL, CLASSES),
    "bert, tokens": ("BertForTokenClassification", TEXT | SMALL, TOKENS),
    "roberta": ("RobertaForSequenceClassification", TEXT | SMALL, CLASSES),
    "camembert": ("CamembertForSequenceClassification", TEXT | SMALL, CLASSES),
    "xlm-roberta": ("XLMRobertaForSequenceClassification", TEXT | SMALL, CLASSES),
    "electra": ("ElectraForSequenceClassification", TEXT | SMALL | {"embedding_size": 32}, CLASSES),
    "electra, projected": (
        "ElectraForSequenceClassification",
        TEXT | SMALL | {"embedding_size": 12},
        CLASSES,
    ),
    "distilbert": ("DistilBertForSequenceClassification", DISTIL, CLASSES),
    "mpnet": ("MPNetForSequenceClassification", TEXT | SMALL, CLASSES),
    "deberta-v2": ("DebertaV2ForSequenceClassification", DEBERTA, CLASSES),
    "deberta-v2, shared": (
        "DebertaV2ForTokenClassification",
        DEBERTA | {"share_att_key": True, "conv_kernel_size": 3, "embedding_size": 12},
        TOKENS,
    ),
    "deberta-v2, published": ("DebertaV2ForSequenceClassification", V3, CLASSES),
    "albert": ("AlbertForSequenceClassification", TEXT | SMALL | {"embedding_size": 12}, CLASSES),
    "albert, groups": (
        "AlbertForTokenClassification",
        TEXT | SMALL | {"embedding_size": 32, "num_hidden_groups": 2, "inner_group_num": 2},
        TOKENS,
    ),
    "modernbert": ("ModernBertForSequenceClassification", MODERN, CLASSES),
    "modernbert, biases": (
        "ModernBertForTokenClassification",
        MODERN | {"attention_bias": True, "mlp_bias": True, "norm_bias": True},
        TOKENS,
    ),
    "gte": ("GteForSequenceClassification", TEXT | SMALL, CLASSES),
    "nomic_bert": ("NomicBertForSequenceClassification", TEXT | SMALL, CLASSES),
    "clip": (
        "CLIPForImageClassification",
        LABELS | {"vision_config": CLIP, "text_config": CLIP_TEXT},
        IMAGES,
    ),
    "clip_text_model": ("CLIPTextModel", CLIP_TEXT, FEATURES),
    "clip_vision_model": ("CLIPVisionModel", CLIP, FEATURES),
    "bart": ("BartModel.encoder", BART, FEATURES),
    "marian": ("MarianModel.encoder", BART, FEATURES),
    "whisper": ("WhisperForAudioClassification", WHISPER, IMAGES),
    "vit": ("ViTForImageClassification", IMAGE | SMALL | {"patch_size": 8}, IMAGES),
    "deit": ("DeiTForImageClassification", IMAGE | SMALL | {"patch_size": 8}, IMAGES),
    "swin": ("SwinForImageClassification", SWIN, IMAGES),
    "gpt2": ("GPT2LMHeadModel", GPT2, NEXT),
    "gpt2, classes": ("GPT2ForSequenceClassification", GPT2, CLASSES),
    "llama": ("LlamaForCausalLM", LLM | {"tie_word_embeddings": True}, NEXT),
    "mistral": ("MistralForSequenceClassification", LLM, CLASSES),
    "gemma": ("GemmaForCausalLM", LLM | {"head_dim": 8}, NEXT),
    "gemma2": ("Gemma2ForSequenceClassification", LLM | {"head_dim": 8}, CLASSES),
    "gemma3_text": ("Gemma3ForCausalLM", LLM | {"head_dim": 8, "sliding_window": 4}, NEXT),
    "qwen2": ("Qwen2ForCausalLM", LLM, NEXT),
    "qwen3": ("Qwen3ForCausalLM", LLM | {"head_dim": 12}, NEXT),
    "t5": ("T5ForTokenClassification", T5, TOKENS),
    "t5, gated": ("T5ForTokenClassification", T5 | {"feed_forward_proj": "gated-gelu"}, TOKENS),
    "t5, features": ("T5EncoderModel", T5, "feature-extraction"),
}
"""Class, configuration and task by the family's `model_type`, and a variant."""

MOBILE = {"embedding_size": 8, "intra_bottleneck_size": 16, "true_hidden_size": 16}
XLNET = {"vocab_size": 40, "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 24}
TRACED = {
    "mobilebert": ("MobileBertForSequenceClassification", TEXT | SMALL | MOBILE, CLASSES),
    "xlnet": ("XLNetForSequenceClassification", XLNET | LABELS | {"pad_token_id": 0}, CLASSES),
}
"""The same of families that nothing describes."""

DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")


def family_model(name, *, layers=2):
    """(module in eval mode, its source, example inputs, task) of a name in `MODELS` or `TRACED`.

    `layers` : of each but Swin, whose layers differ.
    """
    class_name, values, task_name = (MODELS | TRACED)[name]
    values = values | {key: layers for key in DEPTHS if key in values}
    torch.manual_seed(0)
    class_name, _, part = class_name.partition(".")
    model_class = getattr(transformers, class_name)
    module = model_class(model_class.config_class(**values)).eval().get_submodule(part)
    with torch.no_grad():  # gains and biases that are all alike would hide mistakes
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return (
        module,
        TransformersSource.of(module),
        example(task_name, module.main_input_name),
        task(task_name),
    )


def example(task_name, read="input_ids"):
    """A batch of two samples, the second of them padded, for a model that reads such inputs."""
    torch.manual_seed(1)
    if read == "input_features":
        return {"input_features": torch.randn(2, 8, 20)}
    if task_name == IMAGES or read == "pixel_values":
        return {"pixel_values": torch.rand(2, 1, 16, 16)}
    ids = torch.randint(3, 40, (2, 10))
    mask = (torch.arange(10)[None] < torch.tensor([[10], [7]])).long()
    return {"input_ids": ids * mask, "attention_mask": mask}
