"""This process among others: what its launcher was asked for, and how many threads it takes."""
