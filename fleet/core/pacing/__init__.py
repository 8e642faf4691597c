"""How fast: rates and limits, requests under way, what a refusal means, and the breaker."""
