"""The ground floor: every other module may import it; it imports none of them."""
