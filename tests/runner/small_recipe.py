"""A recipe that takes the whole road in a few seconds."""

RECIPE = """\
version: 1
name: small
seed: 3
model:
  python: compress.models.resnet:resnet
  arguments: {blocks: [1], width: 16, in_channels: 1, num_classes: 10}
task: image-classification
data:
  sklearn: digits
  limit: {train: 600}
  calibration_samples: 32
measure: {batch_sizes: [1, 4], threads: 1, rounds: 5, warmup: 1, seconds: 0.01, samples: 100}
stages:
  - use: train
    training: {epochs: 4, batch_size: 32, learning_rate: 2.0e-2}
  - use: distill
    student:
      python: compress.models.resnet:resnet
      arguments: {blocks: [1], width: 16, in_channels: 1, num_classes: 10}
    losses: {response: {temperature: 4.0, weight: 0.7}, labels: {weight: 0.3}}
    training: {epochs: 2, batch_size: 32, learning_rate: 2.0e-2}
  - use: prune
    target: {macs: 0.57}
    recovery:
      training: {epochs: 1, batch_size: 32, learning_rate: 1.0e-3}
  - use: quantize
    method: static
    calibration: {samples: 32, method: minmax}
    evaluation: {samples: 100, rounds: 5, seconds: 0.01}
  - use: export
"""
