"""From images to a model's inputs."""
