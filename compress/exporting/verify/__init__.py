"""`compress verify`: a bundle is whole and answers as it did."""
