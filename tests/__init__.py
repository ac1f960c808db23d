"""Tests mirror the package: the folder of a test is the folder of what it tests."""
