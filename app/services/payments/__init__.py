"""Money that comes in through a payment provider, and goes back the same way (money.md: Payment providers)."""
