"""The components as other teams use them."""
