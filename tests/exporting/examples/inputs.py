"""A bundle's example script as a module, and tokenizers that do more to a text than most."""

from compress.exporting.examples.write import example_script
from compress.tasks.task import TASKS

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", *"abcdefgh")


def script_of(folder, task):
    """The names of the script, which finds the bundle's files in the folder."""
    text = example_script(TASKS[task])
    given = {"__name__": "infer", "__file__": str(folder / "infer.py")}
    exec(compile(text, "infer.py", "exec"), given)  # noqa: S102
    return given


def word_level(*, special=True, length=8, **options):
    """A tokenizer of letters, with "[CLS] … [SEP]" around texts or nothing."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel({w: at for at, w in enumerate(WORDS)}, "[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        backend.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        model_max_length=length,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **{"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"},
        **options,
    )
