"""Ranking by scout: small adapters on every module learn for a while, then are switched off."""
