"""The ground floor: what every other module may import, and which imports none of them."""
