"""Random changes of a batch of training samples."""

from __future__ import annotations

import torch
from torch import Tensor

from compress.core.artifact import Preprocessor
from compress.core.batch import ATTENTION_MASK, LABELS, MIX_WEIGHT, MIX_WITH, SAMPLE_IDS
from compress.core.context import Batch, Target
from compress.errors import StageError, expected
from compress.training.augmentation.draws import uniform
from compress.training.augmentation.images import DRAWS, IMAGES, changed_images
from compress.training.augmentation.mixing import as_probabilities, cutmix, mixed_labels, mixup
from compress.training.batches import sample_count
from compress.training.distributed.sharding import Sharding, partners
from compress.training.options import Augment

TOKENS = "input_ids"
_IMAGE_STREAM, _TOKEN_STREAM, _MIX_STREAM = 1, 2, 3


class Augmenter:
    """Changes batches as the options say. Without options it changes nothing.

    Every draw depends on the seed, the sample and the epoch (or variant), and not on the order of
    batches. So it is the same with any number of processes, and a variant can be made again.

    Parameters
    ----------
    options : the changes to make.
    preprocessor : its tokenizer names the mask token.
    seed : seed of all draws.
    size : number of samples in the train split; ids of variants begin after it.
    target, classes : kind of the labels, and number of classes; only mixing needs them.
    sharding : texts are mixed within its slices.

    Raises
    ------
    StageError : tokens are to be masked, but there is no mask token.
    """

    def __init__(
        self,
        options: Augment | None,
        *,
        preprocessor: Preprocessor,
        seed: int,
        size: int,
        target: Target = "none",
        classes: int = 0,
        sharding: Sharding | None = None,
    ) -> None:
        self.options = options or Augment()
        self._seed, self._size = seed, size
        self._target, self._classes = target, classes
        self._sharding = sharding or Sharding()
        self._mask_token, self._special = _special_tokens(preprocessor, self.options)
        if self.options.mixes and target not in ("class", "class-set"):
            raise StageError(
                expected("augment", "without mixing for a task of this target", target)
            )
        if self.options.mixes and target == "class" and classes < 1:
            raise StageError("'mixup', 'cutmix' and 'mix_embeddings' need the labels' names.")

    @property
    def variants(self) -> int | None:
        """Number of variants of each sample; None if each epoch has new changes."""
        options = self.options
        if options.mixes:
            return None
        return options.variants if options.changes_images or options.changes_texts else 1

    def __call__(self, batch: Batch, *, epoch: int) -> Batch:
        """The changed batch of an epoch (from 0). If there are variants, its `sample_ids` become
        variant * size + id."""
        count = self.variants
        if count is not None:
            return self.variant(batch, epoch % count)
        changed = self._changed(batch, epoch)
        return self._mixed(changed, epoch) if self.options.mixes else changed

    def variant(self, batch: Batch, number: int) -> Batch:
        """The batch with each sample in the variant of that number, from 0."""
        changed = self._changed(batch, number)
        if number and SAMPLE_IDS in changed:
            changed[SAMPLE_IDS] = changed[SAMPLE_IDS] + number * self._size
        return changed

    def _changed(self, batch: Batch, round_: int) -> dict[str, Tensor]:
        options, changed = self.options, dict(batch)
        if options.crop or options.flip:
            ids = _required(batch, SAMPLE_IDS).numpy()[:, None]
            draws = uniform(self._seed, _IMAGE_STREAM, round_, ids, torch.arange(DRAWS))
            changed[IMAGES] = changed_images(
                _required(batch, IMAGES), draws, crop=options.crop, flip=options.flip
            )
        if options.mask_tokens:
            changed[TOKENS] = self._masked(batch, round_)
        return changed

    def _masked(self, batch: Batch, round_: int) -> Tensor:
        tokens, real = _required(batch, TOKENS), _required(batch, ATTENTION_MASK).bool()
        # Positions count from the text's first token, so that padding on the left doesn't matter.
        places = (real.cumsum(-1) - 1).clamp(min=0)
        ids = _required(batch, SAMPLE_IDS).reshape(-1, *[1] * (tokens.ndim - 1))
        draws = uniform(self._seed, _TOKEN_STREAM, round_, ids, places)
        chosen = (draws < self.options.mask_tokens) & real & ~torch.isin(tokens, self._special)
        return tokens.masked_fill(chosen, self._mask_token)

    def _mixed(self, batch: dict[str, Tensor], epoch: int) -> dict[str, Tensor]:
        options = self.options
        first = int(_required(batch, SAMPLE_IDS)[0])
        draws = uniform(self._seed, _MIX_STREAM, epoch, first, torch.arange(4)).tolist()
        generator = torch.Generator().manual_seed(int(draws[0] * 2**24))
        if options.mix_embeddings is not None:
            mix_with = partners(self._sharding.ranges(sample_count(batch)), generator)
            share = _share(options.mix_embeddings, generator)
            if ATTENTION_MASK in batch:  # the mixture has a token wherever one of the two has one
                batch[ATTENTION_MASK] = torch.maximum(
                    batch[ATTENTION_MASK], batch[ATTENTION_MASK][mix_with]
                )
            batch[MIX_WITH] = mix_with
            batch[MIX_WEIGHT] = torch.full((len(mix_with),), share)
        else:
            mix_with = torch.randperm(sample_count(batch), generator=generator)
            images = _required(batch, IMAGES)
            cuts = options.mixup is None or (options.cutmix is not None and draws[1] < 0.5)
            share = _share((options.cutmix if cuts else options.mixup) or 1.0, generator)
            if cuts:
                batch[IMAGES], share = cutmix(
                    images, images[mix_with], share, centre=(draws[2], draws[3])
                )
            else:
                batch[IMAGES] = mixup(images, images[mix_with], share)
        batch[LABELS] = self._mixed_labels(batch[LABELS], mix_with, share)
        return batch

    def _mixed_labels(self, labels: Tensor, mix_with: Tensor, share: float) -> Tensor:
        if self._target == "class":
            rows = as_probabilities(labels, classes=self._classes)
            return mixed_labels(rows, mix_with, share, unknown=0.0)
        return mixed_labels(labels, mix_with, share, unknown=-1.0)


def _special_tokens(preprocessor: Preprocessor, options: Augment) -> tuple[int, Tensor]:
    if not options.mask_tokens:
        return 0, torch.empty(0, dtype=torch.int64)
    tokenizer = preprocessor.tokenizer
    mask = None if tokenizer is None else tokenizer.mask_token_id
    if mask is None:
        raise StageError("'mask_tokens' needs a tokenizer with a mask token. This one has none.")
    return int(mask), torch.tensor(tokenizer.all_special_ids, dtype=torch.int64)


def _required(batch: Batch, name: str) -> Tensor:
    if name not in batch:
        raise StageError(f"'augment' needs '{name}' in a batch. Got {', '.join(batch)}.")
    return batch[name]


def _share(alpha: float, generator: torch.Generator) -> float:
    """A share drawn from Beta(alpha, alpha)."""
    concentration = torch.tensor([alpha, alpha], dtype=torch.float64)
    drawn = torch._sample_dirichlet(concentration, generator=generator)
    return float(drawn[0])
