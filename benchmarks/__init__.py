"""How fast portanet is beside what a user would write or pick instead."""
