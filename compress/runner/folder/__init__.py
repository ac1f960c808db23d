"""The folder of a run: its marker, its layout, and the files that a run may change."""
