"""`compress verify`: checks that a bundle is whole and that its answers haven't changed."""
