import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture
def tiny_bert():
    """A classifier with three labels, in the order of its logits."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=32,
        id2label={0: "mail", 1: "web", 2: "math"},
    )
    return BertForSequenceClassification(config).eval()


@pytest.fixture
def bert_folder(tiny_bert, tmp_path):
    folder = tmp_path / "bert"
    tiny_bert.save_pretrained(folder)
    return folder
