"""Scenes for sentences that people type: reading them, and drawing what they say."""
